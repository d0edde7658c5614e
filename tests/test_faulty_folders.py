"""Folders of results under faults: held by another Snakemake, read-only, dated wrongly, shared."""

import os
import shutil
import subprocess
import time

import pytest

from frugalvit.jobs.lock import exclusive
from tests.workflows import TINY, command, edit, environment, planned, results_of, snakemake

pytestmark = pytest.mark.workflow
SUMMARY = "results/tiny/summary.csv"
AGAIN = (*TINY, "--resources", "gpu=0", "--forcerun", "summarize", "--", SUMMARY)
PATIENCE = 300  # seconds; the machine may be busy


def without_tracebacks(done):
    """Words of a call that was refused."""
    words = done.stdout + done.stderr
    assert done.returncode != 0, words
    assert "Traceback" not in words, words
    return words


def test_a_second_snakemake_is_refused_and_the_first_goes_on(copied):
    log = copied / "logs" / "tiny" / "summarize.log"
    log.unlink()
    with exclusive(results_of(copied) / ".summary.csv.lock", "it", note="another job"):
        first = subprocess.Popen(
            command(*AGAIN), cwd=copied, env=environment(copied),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + PATIENCE
        while not (log.is_file() and "waiting: process" in log.read_text()):
            assert first.poll() is None, "it ended before it was held up"
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert "Directory cannot be locked" in without_tracebacks(snakemake(copied, *AGAIN))
    assert first.wait(PATIENCE) == 0
    assert planned(copied, *TINY) == {}


def test_read_only_results_are_told_before_anything_runs(copied):
    results = str(results_of(copied))
    bind = ["mount", "--bind", results, results]
    if os.geteuid() or not shutil.which("mount"):
        pytest.skip("only root can make a folder read-only for every user")
    if subprocess.run(bind, capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount a folder")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", results], check=True)
        words = without_tracebacks(snakemake(copied, *AGAIN))
    finally:
        subprocess.run(["umount", results], check=True)
    assert "Write-protected output files" in words
    assert SUMMARY in words
    assert planned(copied, *TINY) == {}


def test_dates_in_the_future_rerun_nothing_whose_content_is_the_same(copied):
    ahead = time.time() + 86_400
    for path in (*(copied / "data").glob("*/store/*"), *results_of(copied).glob("splits*/*")):
        os.utime(path, (ahead, ahead))
    assert planned(copied, *TINY) == {}


def test_another_study_uses_the_same_store(copied):
    edit(copied, lambda study: study.update(study="other"))
    plan = planned(copied, *TINY)
    assert plan["train_run"] == 14
    assert not {"download_dataset", "prepare_dataset"} & set(plan)


def test_results_of_an_experiment_that_was_taken_out_are_left_and_count_no_more(copied):
    edit(copied, lambda study: study["experiments"].pop("pruned"))
    plan = planned(copied, *TINY)
    assert "train_run" not in plan
    assert plan["summarize"] == 1
    done = snakemake(copied, *TINY, "--resources", "gpu=0", "--", SUMMARY)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "pruned" not in (copied / SUMMARY).read_text()
    assert (results_of(copied) / "runs" / "pruned-s0" / "card.json").exists()
