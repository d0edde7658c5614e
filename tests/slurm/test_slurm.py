"""The workflow on a real SLURM, through the profile as it is shipped."""

import itertools
import json
import os
import shutil
import signal
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.chaos.compare import ANSWERS, BY_TIME
from tests.imagefolders import write_folder
from tests.slurm import cluster
from tests.slurm.cluster import Running, process_of, start
from tests.workflows import ROOT, STUDY, copy_tiny, copy_workflow, edit, run

pytestmark = [pytest.mark.slurm, pytest.mark.workflow]
RUNS = ("unfreeze_last-s0", "early_exit-s0")
# Made by jobs on the cluster; every other rule runs on the submitting machine.
WITH_GPU = {"pretrain_base", "extract_features", "train_run", "evaluate_fine_tune",
            "evaluate_early_exit", "measure_cost"}  # fmt: skip
WITHOUT_GPU = {"prepare_dataset"}
# What a second run of the same on the same machine measures otherwise.
MEASURED = {"latency_ms", "latency_p95_ms", "call_ms", "call_p95_ms", "calls", "images_per_s",
            "spread", "busy_cores", "peak_memory_mb", "train_seconds", "seconds"}  # fmt: skip
TARGETS = ("--", "results/cut/summary.csv", "results/cut/figures/schedules.svg")


def write_cut(folder: Path) -> None:
    """The embedded study, cut to what takes a minute: every training rule, hardly any training."""
    study = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    study |= {"study": "cut", "seeds": [0], "figures": {"formats": ["svg"]}}
    study["dataset"]["digits"] |= {"train": 300, "valid": 200, "test": 100}
    pretrain = study["base"]["pretrain"]
    pretrain |= {"ready_made": None, "epochs": 1}
    pretrain["dataset"]["digits"] |= {"train": 300, "valid": 100, "test": 50}
    study["experiments"] = {
        name: study["experiments"][name] for name in ("unfreeze_last", "early_exit")
    }
    for experiment in study["experiments"].values():
        for phase in experiment["schedule"]:
            phase["epochs"] = 1
    early = study["experiments"]["early_exit"]
    del early["from"]  # so that both runs can train at once
    early["schedule"][0]["train"] = "heads"
    early["targets"] = {"budget": [0.58]}
    study["evaluation"] = {"measure_seconds": 0.05, "measure_images": 8}
    (folder / STUDY).write_text(yaml.safe_dump(study, sort_keys=False))


@pytest.fixture(scope="module")
def session():
    with cluster.only_session():
        yield


@pytest.fixture(scope="module")
def local(session, tmp_path_factory):
    """The cut study, run on this machine without SLURM."""
    start()  # skips before anything else where there is no SLURM
    folder = copy_workflow(tmp_path_factory.mktemp("local"))
    write_cut(folder)
    run(folder, "--configfile", STUDY, "--cores", "2", "--resources", "gpu=1", *TARGETS)
    return folder


@pytest.fixture(scope="module")
def submitted(local, tmp_path_factory):
    """The same on a cluster with one GPU: its folder and its jobs."""
    folder = tmp_path_factory.mktemp("submitted")
    copy_workflow(folder)
    write_cut(folder)
    start(gpus=1)
    with Running(folder, *TARGETS) as running:
        running.finish()
        return folder, running.jobs()


@pytest.fixture(scope="module")
def longer(local, tmp_path_factory):
    """A study whose training is long enough to be stopped, unbroken; and the same before training."""
    folder = tmp_path_factory.mktemp("longer")
    shutil.copytree(local, folder, symlinks=True, dirs_exist_ok=True)

    def lengthen(study):
        for experiment in study["experiments"].values():
            experiment["schedule"][1]["epochs"] = 30

    edit(folder, lengthen)
    untrained = tmp_path_factory.mktemp("untrained")
    shutil.copytree(folder, untrained, symlinks=True, dirs_exist_ok=True)
    run(
        folder, "--configfile", STUDY, "--cores", "2", "--resources", "gpu=1", "--", *weights(*RUNS)
    )
    return folder, untrained


@pytest.fixture
def training(longer, tmp_path):
    """A copy of that study before its training, on a cluster with two GPUs."""
    start(gpus=2)
    folder = tmp_path / "study"
    shutil.copytree(longer[1], folder, symlinks=True)
    return folder


def weights(*runs: str) -> list[str]:
    return [f"results/cut/runs/{name}/weights.safetensors" for name in runs]


def has_checkpoint(folder: Path, name: str) -> bool:
    return (folder / weights(name)[0]).with_name("last.ckpt").exists()


def card_of(folder: Path, name: str) -> dict:
    return json.loads((folder / weights(name)[0]).with_name("card.json").read_text())


def same_weights(folder: Path, other: Path, name: str) -> bool:
    file = weights(name)[0]
    return (folder / file).read_bytes() == (other / file).read_bytes()


def rule_of(job: cluster.Job) -> str:
    return job.name.split("_wildcards_")[0]


def test_results_equal_the_local_runs(local, submitted):
    folder = submitted[0]
    tables = sorted(path.relative_to(local) for path in local.glob("results/**/*.csv"))
    assert {path.name for path in tables} >= {"summary.csv", "history.csv", "predictions.csv"}
    for table in tables:
        here, there = (pd.read_csv(root / table, dtype=str) for root in (local, folder))
        if table.name == ANSWERS:
            here, there = (one.sort_values("name", ignore_index=True) for one in (here, there))
        columns = [name for name in here if name not in MEASURED | BY_TIME]
        pd.testing.assert_frame_equal(here[columns], there[columns], obj=str(table))
    trained = sorted(path.relative_to(local) for path in local.glob("results/**/*.safetensors"))
    assert len(trained) == 5  # before and after pretraining, the base, two runs
    for file in trained:
        assert (local / file).read_bytes() == (folder / file).read_bytes(), file


def test_jobs_ask_for_what_their_rules_say(submitted):
    found = submitted[1]
    assert {rule_of(job) for job in found} == WITH_GPU | WITHOUT_GPU
    assert {job.state for job in found} == {"COMPLETED"}
    for job in found:
        assert job.gpus == ("gres:gpu:1" if rule_of(job) in WITH_GPU else ""), job
        assert job.alone == rule_of(job).startswith("measure_"), job
    by_rule = {rule_of(job): job for job in found}
    asked = (by_rule["train_run"].memory, by_rule["train_run"].minutes)
    assert asked == ("2000M", 30)  # config.yaml: compute
    assert (by_rule["prepare_dataset"].memory, by_rule["prepare_dataset"].minutes) == ("4000M", 120)


def test_gpu_jobs_take_turns_on_one_gpu(submitted):
    graphic = [job for job in submitted[1] if rule_of(job) in WITH_GPU]
    for one, other in itertools.combinations(graphic, 2):
        assert one.ended <= other.started or other.ended <= one.started, (one, other)
    first, second = (job for job in graphic if job.name.endswith(RUNS) and "train_run" in job.name)
    assert second.submitted < first.ended, "nothing had to wait for its turn"


def test_sigint_cancels_jobs_that_run_side_by_side_on_two_gpus(training):
    with Running(training, "--", *weights(*RUNS)) as running:
        running.wait_for(lambda: all(has_checkpoint(training, name) for name in RUNS))
        assert [job.state for job in running.jobs("train_run")] == ["RUNNING", "RUNNING"]
        running.process.send_signal(signal.SIGINT)
        running.finish(code=1)
        # SLURM does what it was told a moment later than it says so.
        deadline = time.monotonic() + 30
        while (states := {job.state for job in running.jobs()}) == {"RUNNING"}:
            assert time.monotonic() < deadline, states
            time.sleep(0.2)
        assert [job.state for job in running.jobs()] == ["CANCELLED", "CANCELLED"]
    # Neither locked nor from the start.
    with Running(training, "--", *weights(RUNS[0])) as running:
        running.finish()
    assert card_of(training, RUNS[0])["resumed_after"]


def test_a_killed_job_is_tried_again_with_more_and_goes_on(training, longer):
    log = training / f"logs/cut/train_run/{RUNS[0]}.log"
    with Running(training, "--", *weights(RUNS[0])) as running:
        running.wait_for(lambda: has_checkpoint(training, RUNS[0]))
        os.kill(process_of(log), signal.SIGKILL)
        running.finish()
        first, second = running.jobs()
    assert (first.state, second.state) == ("FAILED", "COMPLETED")
    assert (first.memory, second.memory) == ("2000M", "4000M")
    assert (first.minutes, second.minutes) == (30, 60)
    assert card_of(training, RUNS[0])["resumed_after"]
    assert same_weights(training, longer[0], RUNS[0])


def test_a_job_over_its_time_limit_goes_on_and_ends_as_an_unbroken_one(training, longer):
    log = training / f"logs/cut/train_run/{RUNS[1]}.log"
    with Running(training, "--", *weights(RUNS[1])) as running:
        running.wait_for(lambda: has_checkpoint(training, RUNS[1]))
        # Halted, so that it cannot end before SLURM has looked, and uses up no processor till then.
        os.kill(process_of(log), signal.SIGSTOP)
        cluster.end_soon(running.jobs()[0])
        words = running.finish()
        first, second = running.jobs()
    assert (first.state, second.state) == ("TIMEOUT", "COMPLETED")
    assert "TIMEOUT" in words
    assert card_of(training, RUNS[1])["resumed_after"]
    assert same_weights(training, longer[0], RUNS[1])


def test_a_site_can_name_partition_and_gpu_model(training):
    profile = training / "workflow/profiles/slurm/config.yaml"
    words = profile.read_text()
    for option in ("extract_features: &gpu", "train_run: *gpu"):
        assert f"  #{option}" in words
        words = words.replace(f"#{option}", option)
    profile.write_text(words)
    with Running(training, "--", *weights(RUNS[0])) as running:
        [job] = running.wait_for(running.jobs)
    assert (job.partition, job.gpus) == ("gpu", "gres:gpu:a100:1")


def test_a_failing_job_is_reported_with_its_log(session, tmp_path):
    start(gpus=2)
    folder = copy_tiny(tmp_path)
    photos = write_folder(folder / "photos", {f"class_{k}": 8 for k in range(3)})
    (photos / "class_1" / "broken.jpg").write_bytes(b"\xff\xd8 no image")

    def use_photos(study):
        study["dataset"] = {"source": "folder", "path": "photos", "name": "photos", "resize": 24}
        study["splits"] = {"mode": "fraction", "fraction": 0.5}
        study["split_variants"] = {}
        study["experiments"] = {"frozen": study["experiments"]["frozen"]}

    edit(folder, use_photos)
    target = "results/tiny/splits/assignments.csv"
    with Running(folder, "--retries", "0", "--", target) as running:
        words = running.finish(code=1)
        [job] = running.jobs()
    assert "rule prepare_dataset" in words
    assert "logs/tiny/prepare_dataset/photos-24px.log" in words
    assert "class_1/broken.jpg" in words, "the log itself is shown"
    assert (job.name, job.state) == ("prepare_dataset_wildcards_photos-24px", "FAILED")
    assert f"logs/slurm/rule_prepare_dataset/photos-24px/{job.number}.log" in words
    assert (folder / f"logs/slurm/rule_prepare_dataset/photos-24px/{job.number}.log").exists()


@pytest.mark.slow
def test_the_profile_runs_unchanged_with_an_accounting_database(local, tmp_path):
    start(gpus=1, database=True)
    folder = tmp_path / "study"
    shutil.copytree(local, folder, symlinks=True)
    shutil.rmtree(folder / "results/cut/runs/unfreeze_last-s0")
    with Running(folder, "--", *weights(RUNS[0]), program=cluster.SHIPPED) as running:
        running.finish()
        [job] = running.jobs()
    assert (job.state, job.gpus) == ("COMPLETED", "gres:gpu:1")
    assert same_weights(folder, local, RUNS[0])
