"""A study killed at random moments ends with the tables and weights of one that was not."""

import os
import re
import subprocess
import sys

import pandas as pd
import pytest

from frugalvit.checksums import note_tables
from tests import warm
from tests.chaos import aims
from tests.chaos.__main__ import draw
from tests.chaos.compare import differences, left_over
from tests.chaos.killing import KINDS
from tests.chaos.slow.sitecustomize import SLOW
from tests.workflows import ROOT


@pytest.mark.workflow
def test_five_random_kills_change_nothing(tmp_path):
    done = subprocess.run(
        [
            sys.executable, "-m", "tests.chaos", "--kills", "5", "--study", "cut", "--seed", "1",
            "--folder", str(tmp_path),
        ],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | warm.variables(),  # of this session's server
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    print(done.stdout)
    told = dict(re.findall(r"(?m)^(kills|by rule|lost|jobs|result) +(.*)$", done.stdout))
    assert told["kills"].startswith("5: ")
    assert told["kills"].endswith("; 1 of them aimed")
    assert any(script in told["by rule"] for script in SLOW)
    assert told["lost"] == "0 files"
    assert int(re.search(r"again (\d+) times", told["jobs"])[1]) > 0, "no kill hit a job"
    assert re.fullmatch(
        r"identical \(\d\d \.csv, \d+ \.safetensors, 3 \.npy files\)", told["result"]
    )


def test_moments_are_drawn_from_the_seed_and_every_kind_has_its_share():
    assert draw(30, 100, seed=3) == draw(30, 100, seed=3)
    assert draw(30, 100, seed=3) != draw(30, 100, seed=4)
    moments, kinds = zip(*draw(30, 100, seed=3))
    assert list(moments) == sorted(moments)
    assert 0 <= moments[0] < moments[-1] <= 100
    assert all(kinds.count(kind) == 10 for kind in KINDS)


def test_every_short_job_and_kind_is_aimed_at_alike():
    drawn = aims.draw(24, seed=3)
    assert drawn == aims.draw(24, seed=3)
    for script in SLOW:
        kinds = [kind for name, kind, _ in drawn if name == script]
        assert {kinds.count(kind) for kind in KINDS} == {2}


@pytest.mark.parametrize("script", [*SLOW, "train_run"])
def test_short_jobs_write_slowly_and_say_so(tmp_path, script):
    """A process that runs such a job's script, and one of a job that takes long anyway."""
    folder = tmp_path / ".snakemake" / "scripts"
    folder.mkdir(parents=True)
    path = folder / f"tmp1.{script}.py"
    path.write_text("import os, sys\nos.replace(sys.argv[1], sys.argv[2])\nprint(os.getpid())")
    (tmp_path / "a").write_text("whole")
    done = subprocess.run(
        [sys.executable, str(path), str(tmp_path / "a"), str(tmp_path / "b")],
        env=os.environ | aims.environment(tmp_path), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert (tmp_path / "b").read_text() == "whole"
    marks = [mark.name for mark in (tmp_path / "writing").iterdir()]
    assert marks == ([done.stdout.strip()] if script in SLOW else [])


@pytest.fixture
def twins(tmp_path):
    """Two results folders that agree, but for what a clock says."""
    for number, name in enumerate(("reference", "broken")):
        folder = tmp_path / name / "runs" / "a-s0"
        folder.mkdir(parents=True)
        table = pd.DataFrame({"accuracy": ["0.90", "NA"], "latency_ms": [number, 2], "device": "x"})
        table.to_csv(folder / "summary.csv", index=False)
        (folder / "weights.safetensors").write_bytes(b"weights")
    return tmp_path / "reference", tmp_path / "broken"


def test_times_are_no_difference(twins):
    assert differences(*twins) == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("0.90", "0.9", "other values of accuracy"),
        ("NA", "", "other values of accuracy"),
        ("device", "machine", "other columns or another number of rows"),
        ("NA,2,x\n", "", "other columns or another number of rows"),
    ],
)
def test_any_other_value_is_one(twins, old, new, told):
    path = twins[1] / "runs" / "a-s0" / "summary.csv"
    path.write_text(path.read_text().replace(old, new))
    assert differences(*twins) == [f"runs/a-s0/summary.csv: {told}"]


def test_other_bytes_and_files_are_differences(twins):
    reference, broken = twins
    (broken / "runs/a-s0/weights.safetensors").write_bytes(b"weightz")
    (broken / "more.csv").write_text("a\n")
    (reference / "less.csv").write_text("a\n")
    assert sorted(differences(reference, broken)) == [
        f"less.csv: only in {reference}",
        f"more.csv: only in {broken}",
        "runs/a-s0/weights.safetensors: other bytes",
    ]


def test_a_table_that_is_not_as_its_job_noted_is_one(twins):
    path = twins[1] / "runs" / "a-s0" / "summary.csv"
    note_tables([path])
    assert differences(*twins) == []
    path.write_text(path.read_text().replace("1,x", "7,x"))  # a time, which no comparison sees
    (found,) = differences(*twins)
    assert found.startswith(f"{path}: its bytes are not those that were written")


def test_a_reference_may_hold_tables_alone(twins):
    (twins[0] / "runs" / "a-s0" / "weights.safetensors").unlink()
    assert differences(*twins) == []


def test_what_a_kill_leaves_lying_about_is_told(twins):
    names = [".a.csv.ab12_xyz.csv", ".a.csv.lock", "last.ckpt", ".tokens-x", ".weights.abcdefgh"]
    for name in names:
        (twins[1] / name).write_text("")
    (twins[1] / ".gitkeep").write_text("")
    assert left_over(twins[1]) == sorted(names)
    assert differences(*twins) == [f"{name}: left over" for name in sorted(names)]
