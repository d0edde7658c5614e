"""What a run says on the terminal: what takes long, and an error in one line with its log."""

import logging
import os
import subprocess
import sysconfig
import venv

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from frugalvit.jobs import run as jobs
from frugalvit.jobs.messages import Failures, what_takes_long
from tests.workflows import TINY, copy_tiny, environment, snakemake

WRAPPED = (
    'RuleException:\nCalledProcessError in file "train.smk", line 3:\n'
    "Command 'set -euo pipefail;  python x.py' returned non-zero exit status {}."
)


def test_what_takes_long_is_told_apart_from_copies_and_figures():
    plan = ["train_run"] * 25 + ["copy_cost"] * 20 + ["extract_features"] + ["plot_comparison"]
    assert what_takes_long(plan, {"copy_cost", "plot_comparison"}) == (
        "Of 47 jobs these may take long: 25 train_run, 1 extract_features; "
        "the other 21 take seconds each (downloads apart)"
    )
    assert what_takes_long(["train_run"], set()) == "Of 1 jobs these may take long: 1 train_run"
    assert what_takes_long(["plot"], {"plot"}) == "1 jobs, of seconds each (downloads apart)"


def shown(failures, event, message="", **values):
    record = logging.makeLogRecord({"msg": message, "event": event, **values})
    return failures.filter(record)


def failed(failures, log, words, jobid=7):
    log.write_text(words)
    values = {"rule_name": "train_run", "jobid": jobid, "log": [str(log)]}
    return shown(failures, LogEvent.JOB_ERROR, **values)


def test_a_users_mistake_is_one_line_and_its_log(tmp_path):
    failures, log = Failures(), tmp_path / "a.log"
    wrapped = {"exception": "RuleException"}
    assert not shown(failures, LogEvent.ERROR, WRAPPED.format(1), **wrapped)
    assert not failed(failures, log, "epoch 1\nerror: lr: too high\n")
    assert not shown(failures, None, "Exiting because a job execution failed. Look above")
    assert failures.summary().splitlines() == [
        "",
        "train_run failed: lr: too high",
        f"  log: {log}",
        "Mend this and give the same command again: it goes on from what is finished.",
    ]
    assert shown(failures, LogEvent.ERROR, WRAPPED.format(127), **wrapped), "not our script's end"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            "a\nTraceback (most recent call last):\nKeyError: 'x'\n",
            "KeyError: 'x' (an error of the",
        ),
        ("epoch 3 of 9\n", "for want of memory or time perhaps, after: epoch 3 of 9"),
        ("", "it ended before its first word"),
    ],
)
def test_what_is_no_users_mistake_is_shown_whole(tmp_path, words, told):
    failures = Failures()
    assert failed(failures, tmp_path / "a.log", words)
    assert told in failures.summary()


def test_a_job_that_another_try_finished_did_not_fail(tmp_path):
    failures = Failures()
    failed(failures, tmp_path / "a.log", "error: x\n", jobid=3)
    assert shown(failures, LogEvent.JOB_FINISHED, job_id=3)
    assert failures.summary() == ""


def test_words_of_a_run_without_failures_pass():
    assert shown(Failures(), None, "At least one job did not complete successfully.")


def test_jobs_find_the_library_and_wait_asleep(monkeypatch):
    for name in ("PYTHONPATH", *jobs.WAITING):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    jobs.prepare_jobs()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE", "what a user has set stays"
    assert os.environ["GOMP_SPINCOUNT"] == "1000"
    assert (jobs.Path(os.environ["PYTHONPATH"]) / "frugalvit").is_dir()


@pytest.mark.workflow
def test_a_clone_and_an_environment_in_a_folder_with_a_space_run(tmp_path):
    (tmp_path / "with space").mkdir()
    folder = copy_tiny(tmp_path / "with space")
    venv.create(folder / ".venv", symlinks=True)
    python = folder / ".venv" / "bin" / "python"
    # Its packages are those of this environment.
    place = next(folder.glob(".venv/lib/python*/site-packages"))
    (place / "packages.pth").write_text(sysconfig.get_path("purelib"))
    target = "data/digits/raw/.complete"
    done = subprocess.run(
        [python, "-m", "snakemake", *TINY, "--", target],
        cwd=folder, capture_output=True, text=True, env=environment(folder), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert (folder / target).exists()


@pytest.mark.workflow
def test_from_another_folder_one_line_says_where(tmp_path):
    folder = copy_tiny(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    call = ("-s", str(folder / "Snakefile"), "--configfile", str(folder / "study.yaml"))
    done = snakemake(elsewhere, *call, "--cores", "1", "--dry-run")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"error: call Snakemake in {folder}, or with --directory '{folder}'"
    ]
    assert not [path for path in elsewhere.iterdir() if path.name != ".cache"]
    done = snakemake(elsewhere, *call, "--cores", "1", "--dry-run", "--directory", str(folder))
    assert done.returncode == 0
