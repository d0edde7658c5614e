"""Pinned environments stay in step, and code that needs no torch does not load it."""

import re
import subprocess
import sys
import tomllib

import pytest
import yaml

from frugalvit.jobs import digest
from tests.workflows import ROOT

ENVS = ROOT / "envs"
PIN = re.compile(r"(?m)^([a-z0-9._-]+)==([^ \n]+)(?: ; (.*?))? \\$")


def locked(name: str) -> dict[str, set[str]]:
    pins: dict[str, set[str]] = {}
    for package, version, _ in PIN.findall((ENVS / name).read_text()):
        pins.setdefault(package, set()).add(version)
    return pins


def required() -> dict[str, list[str]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    return {"run": project["dependencies"] + extras["workflow"], "dev": extras["dev"]}


def name_of(requirement: str) -> str:
    return re.split(r"[<>=!~ \[]", requirement, maxsplit=1)[0]


@pytest.mark.parametrize("environment", ["frugalvit.yaml", "plot.yaml"])
def test_conda_environments_pin_what_the_lock_pins(environment):
    lock = locked("run.lock")
    *_, pip = yaml.safe_load((ENVS / environment).read_text())["dependencies"]
    pins = dict(requirement.split("==") for requirement in pip["pip"])
    assert pins
    for package, version in pins.items():
        assert version in lock[package], f"{environment}: {package} {version}, lock {lock[package]}"


def test_the_conda_environment_has_every_library_of_ours():
    *_, pip = yaml.safe_load((ENVS / "frugalvit.yaml").read_text())["dependencies"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {name_of(pin) for pin in pip["pip"]} == {
        name_of(need) for need in project["dependencies"]
    }


@pytest.mark.parametrize("environment", ["run", "dev"])
def test_locks_hold_every_requirement_with_hashes_and_no_address(environment):
    text = (ENVS / f"{environment}.lock").read_text()
    lock = locked(f"{environment}.lock")
    for requirement in required()[environment]:
        assert name_of(requirement) in lock
    assert "://" not in text
    entries = [line for line in text.splitlines() if re.match(r"[a-z0-9._-]+==", line)]
    assert len(entries) == sum(map(len, lock.values()))
    assert text.count("--hash=sha256:") >= len(entries)


def test_both_locks_agree():
    run, dev = locked("run.lock"), locked("dev.lock")
    assert {package: dev.get(package) for package in run} == run


def test_constraints_are_what_the_lock_holds():
    for line in (ENVS / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            package, version = line.split("==")
            assert locked("run.lock")[package] == {version}


@pytest.mark.parametrize(
    "module",
    [
        "config.study",
        "files",
        "jobs.digest",
        "training.search",
        "evaluation.summary",
        "data.splits",
    ],
)
def test_what_needs_no_torch_does_not_load_it(module):
    code = f"import sys, frugalvit.{module}; sys.exit('torch' in sys.modules)"
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(ROOT / "workflow")}
    )


def fresh(monkeypatch, folder):
    """The digest module over a copy of the package."""
    for name in ("_digest", "_read", "_files"):
        getattr(digest, name).cache_clear()
    monkeypatch.setattr(digest, "PACKAGE", folder / "frugalvit")
    monkeypatch.setattr(digest, "SCRIPTS", folder / "scripts")


@pytest.fixture
def package(tmp_path, monkeypatch):
    files = {
        "frugalvit/__init__.py": "",
        "frugalvit/a.py": '"""A."""\nfrom frugalvit.sub import b\n',
        "frugalvit/sub/__init__.py": "",
        "frugalvit/sub/b.py": "X = 1  # one\n",
        "frugalvit/sub/c.py": "Y = 1\n",
        "scripts/job.py": "from frugalvit.a import thing\n",
        "scripts/lazy.py": "def main():\n    import frugalvit.sub.c\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    fresh(monkeypatch, tmp_path)
    yield tmp_path
    for name in ("_digest", "_read", "_files"):
        getattr(digest, name).cache_clear()


def test_a_digest_follows_imports_and_only_them(package, monkeypatch):
    before = digest.script_digest("job"), digest.script_digest("lazy")
    (package / "frugalvit/sub/b.py").write_text("X = 2\n")
    fresh(monkeypatch, package)
    after = digest.script_digest("job"), digest.script_digest("lazy")
    assert before[0] != after[0]
    assert before[1] == after[1]
    (package / "frugalvit/sub/c.py").write_text("Y = 2\n")
    fresh(monkeypatch, package)
    assert digest.script_digest("lazy") != after[1]


def test_a_digest_ignores_comments_docstrings_and_layout(package, monkeypatch):
    before = digest.script_digest("job")
    (package / "frugalvit/a.py").write_text('"""Anew."""\n\n\nfrom frugalvit.sub import b\n')
    (package / "frugalvit/sub/b.py").write_text("# why\nX = 1\n")
    fresh(monkeypatch, package)
    assert digest.script_digest("job") == before
