"""What tests run in forks of a warm process behaves as a process that was started anew."""

import json
import os
import signal
import subprocess
import sys

import pytest

from tests import warm

pytestmark = pytest.mark.skipif(warm.python()[1:] == [], reason="all processes are started anew")
SCRIPT = """
import json, os, sys
import beside
told = {"file": __file__, "main": __name__, "argv": sys.argv[1:],
        "path": sys.path[:2], "cwd": os.getcwd(), "own": os.environ.get("OWN"),
        "fork": os.environ.get("FRUGALVIT_WARM", "") != "",
        "library": any(name.split(".")[0] == "frugalvit" for name in sys.modules),
        "torch": "torch" in sys.modules, "drawn": beside.drawn}
print(json.dumps(told))
print("said", file=sys.stderr)
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "beside.py").write_text(
        "import numpy, random\ndrawn = [numpy.random.rand(), random.random()]\n"
    )
    (tmp_path / "scripts" / "script.py").write_text(SCRIPT)
    return tmp_path


def call(folder, *words, fresh=False):
    own = {"OWN": "mine", "PYTHONPATH": str(folder / "more")}
    return subprocess.run(
        [sys.executable, *words] if fresh else warm.python(*words),
        cwd=folder, capture_output=True, text=True, check=False,
        env=os.environ | own | ({} if fresh else warm.variables()),
    )  # fmt: skip


def test_a_fork_sees_what_a_new_process_sees(folder):
    calls = [
        call(folder, "scripts/script.py", "word", fresh=fresh) for fresh in (False, True, False)
    ]
    told = [json.loads(done.stdout) for done in calls]
    assert [done.stderr for done in calls] == ["said\n"] * 3
    assert [tell.pop("torch") for tell in told] == [True, False, True]
    assert [tell.pop("fork") for tell in told] == [True, False, True]
    drawn = [number for tell in told for number in tell.pop("drawn")]
    assert len(set(drawn)) == 6, "no two processes draw the same"
    assert told[0] == told[1] == told[2]
    assert not told[0]["library"], "each copy of the workflow has its own"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("import sys; sys.exit(3)", 3),
        ("raise ValueError('a bug')", 1),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        ("import atexit; atexit.register(print, 'the end')", 0),
    ],
)
def test_a_fork_ends_as_a_new_process_does(folder, line, code):
    (folder / "ends.py").write_text(f"print('begun', flush=True); {line}\n")
    forked, fresh = (call(folder, "ends.py", fresh=fresh) for fresh in (False, True))
    assert forked.returncode == fresh.returncode == code
    assert forked.stdout == fresh.stdout
    assert ("ValueError: a bug" in forked.stderr) == ("ValueError: a bug" in fresh.stderr)
