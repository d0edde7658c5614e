"""Several processes on one batch: the numbers of one process, each image counted once."""

import contextlib
import dataclasses
import json
import logging
import multiprocessing
import os
import signal
import time

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from lightning_fabric.strategies import DDPStrategy

from frugalvit.devices import gpus
from frugalvit.devices.fabric import loader_workers, make_fabric
from frugalvit.errors import TrainingError
from frugalvit.jobs.processes import launch
from frugalvit.methods.trained import MethodRecipe
from frugalvit.training.checkpoint import Checkpoint
from frugalvit.training.runs import train_run
from tests import warm
from tests.small_study import files_of, weights_of
from tests.test_exits import HEADS
from tests.test_exits import settings_for as exits_settings
from tests.test_halting_training import settings_for as halting_settings
from tests.test_training import settings_for as plain_settings
from tests.workflows import TINY, edit, run

PROCESSES = (1, 2, 4)
# 96 images in batches of 19: a last one of a single image, fewer than there are processes. Not AdamW,
# which makes full steps of gradients that are rounding alone: processors round differently, and by how
# much that differs no bound says.
BATCH = {
    "batch_size": 19, "optimizer": "sgd", "lr": 0.03, "clip_norm": 1.0, "label_smoothing": 0.1,
}  # fmt: skip
HEAD, ALL = {"train": "head"}, {"train": "all", "augment": {"shift": 2}}
COUNTED = ["valid_accuracy", "train_accuracy"]  # images right over all images


def cases():
    """Run -> settings: every way in which a phase reads its images and computes its losses."""
    conv = {"exit_head": HEADS["conv"]}  # reads every token, from files that all processes write
    return {
        "plain": plain_settings(HEAD, ALL, HEAD, keep="last", **BATCH),
        "exits": exits_settings({"train": "exits"}, ALL, {"train": "exits"}, exits=conv, **BATCH),
        "halting": halting_settings(
            {**HEAD, "epochs": 1}, {**ALL, "epochs": 2},
            halting={"gamma": 10, "beta": -4, "alpha_distribution": 0.5, "target_gflops": 0.00015},
            distillation={"weight": 0.5}, **BATCH,
        ),
    }  # fmt: skip


@contextlib.contextmanager
def forking():
    """Let `launch` fork its processes off one that has imported what takes long.

    For tests of what processes do together. The workflow starts them anew, which is tested where one of
    them fails, where their job is killed and where a job of the workflow launches them.
    """
    warm.forkserver()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "frugalvit.devices.fabric.DDPStrategy",
            lambda **options: DDPStrategy(**options | {"start_method": "forkserver"}),
        )
        yield


@pytest.fixture
def forked():
    with forking():
        yield


def largest_difference(one, other):
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def train_all(fabric, study, folder, teacher):
    """Every case in one launch: starting processes takes seconds."""
    for name, settings in cases().items():
        files = files_of(study, folder / name)
        if name == "halting":
            files = dataclasses.replace(files, teacher=teacher)
        options = {"batch_size": 20, "workers": 0, "code": "x"}  # 48 images: three batches for four
        train_run(
            fabric, f"{name}-s0", settings, files, MethodRecipe(settings["method"]), **options
        )


@pytest.fixture(scope="module")
def trained(study, tmp_path_factory):
    """Folders of the same runs, by the number of processes."""
    folders = {}
    for count in PROCESSES:
        folders[count] = tmp_path_factory.mktemp(f"processes_{count}")
        teacher = folders[1] / "plain"
        with forking():
            fabric = make_fabric(0, 4, cpu_processes=count)
            launch(fabric, train_all, study, folders[count], teacher)
    return folders


@pytest.mark.parametrize("count", PROCESSES[1:])
@pytest.mark.parametrize("run", cases())
def test_processes_share_a_batch_and_give_the_numbers_of_one(trained, run, count):
    alone, shared = trained[1] / run, trained[count] / run
    assert largest_difference(weights_of(alone), weights_of(shared)) < 1e-5
    one, other = (pd.read_csv(folder / "history.csv") for folder in (alone, shared))
    assert list(one) == list(other)
    numbers = one.drop(columns=["seconds", "train"]).to_numpy(float)
    assert np.allclose(numbers, other.drop(columns=["seconds", "train"]), atol=1e-5, equal_nan=True)
    pd.testing.assert_frame_equal(one[COUNTED], other[COUNTED], rtol=1e-9)
    card = json.loads((shared / "card.json").read_text())
    assert card["processes"] == count
    assert card["device"] == f"cpu ({count} processes, {4 // count} thread{'s'[: count == 2]} each)"
    assert not list(shared.glob(".tokens-*"))
    assert not (shared / "last.ckpt").exists()


def test_the_first_process_writes_the_log(trained, study, tmp_path):
    file = tmp_path / "run.log"
    file.write_text("before\n")
    handler = logging.FileHandler(file)
    logging.getLogger().addHandler(handler)
    try:
        fabric = make_fabric(0, 2, cpu_processes=2)
        logging.getLogger().warning("still heard")
        launch(fabric, _speak_and_fail, tmp_path)
    except TrainingError as error:
        told = str(error)
    finally:
        logging.getLogger().removeHandler(handler)
    assert told == "lr: too high"
    assert file.read_text().splitlines() == ["before", "still heard", "epoch 1"]
    assert sorted(path.name for path in tmp_path.glob("process_*")) == ["process_0", "process_1"]


def _speak_and_fail(fabric, folder):
    (folder / f"process_{fabric.global_rank}").touch()
    fabric.barrier()
    logging.info("epoch %d", 1)
    raise TrainingError("lr: too high")


@pytest.mark.parametrize("wait", ["sleep", "barrier"])
def test_a_killed_process_is_one_line(forked, wait):
    with pytest.raises(TrainingError, match=r"a training process was killed \((SIGKILL|its peers)"):
        launch(make_fabric(0, 2, cpu_processes=2), _killed, wait)


def _killed(fabric, wait):
    if fabric.global_rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if wait == "sleep":
        time.sleep(60)
    fabric.barrier()


def test_two_processes_go_on_where_one_was_killed(study, trained, forked, tmp_path):
    settings, files = cases()["plain"], files_of(study, tmp_path)
    launch(make_fabric(0, 2, cpu_processes=2), _stop_after_two_epochs, settings, files)
    assert Checkpoint(tmp_path / "last.ckpt", "").path.exists()
    options = {"batch_size": 20, "workers": 0, "code": "x"}
    progress = train_run(
        make_fabric(0, 1), "plain-s0", settings, files, MethodRecipe(settings["method"]), **options
    )
    assert progress.resumed_after == [2]
    assert largest_difference(weights_of(trained[1] / "plain"), weights_of(tmp_path)) < 1e-5


def _stop_after_two_epochs(fabric, settings, files):
    from tests.small_study import KilledError, killed_after

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("frugalvit.training.runs.Trainer", killed_after(2))
        with pytest.raises(KilledError):
            train_run(
                fabric,
                "plain-s0",
                settings,
                files,
                MethodRecipe(settings["method"]),
                batch_size=20,
                workers=0,
                code="x",
            )


@pytest.mark.parametrize(
    ("granted", "asked", "visible", "told"),
    [
        (1, 4, 2, "asked for 4 GPUs (compute.gpu), granted 1 (--resources gpu=)"),
        (4, 4, 2, "granted 4 GPUs, found 2: going on with 2"),
        (2, 2, 2, ""),
    ],
)
def test_a_grant_smaller_than_asked_is_said_and_used(
    monkeypatch, caplog, granted, asked, visible, told
):
    made = {}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: visible)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr(gpus, "_claimed", {})
    monkeypatch.setattr(gpus, "_held", [])
    monkeypatch.setattr("frugalvit.devices.fabric.Fabric", lambda **options: made.update(options))
    with caplog.at_level(logging.WARNING):
        make_fabric(granted, 1, "32-true", asked=asked)
    assert len(made["devices"]) == min(granted, visible)
    assert told in caplog.text if told else not caplog.text


def test_processes_end_with_the_job_that_started_them(tmp_path):
    job = multiprocessing.get_context("spawn").Process(target=_launch_sleepers, args=(tmp_path,))
    job.start()
    deadline = time.monotonic() + 300  # seconds; the machine may be busy
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    sleepers = [psutil.Process(int(path.name)) for path in tmp_path.iterdir()]
    assert len(sleepers) == 2
    job.kill()
    job.join()
    _, alive = psutil.wait_procs(sleepers, timeout=20)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def _launch_sleepers(folder):
    launch(make_fabric(0, 2, cpu_processes=2), _sleep, folder)


def _sleep(fabric, folder):
    (folder / str(os.getpid())).touch()
    # As in a call into a library, where Python hears of no signal.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    time.sleep(300)


@pytest.mark.workflow
def test_a_job_that_wants_four_gpus_and_gets_one_says_so_and_trains(copied):
    edit(copied, lambda study: study["compute"].update(gpu=4, cpu_processes=2, threads=2))
    target = "results/tiny/runs/halting-s0/weights.safetensors"
    (copied / target).unlink()
    words = run(copied, *TINY, "--resources", "gpu=1", "--", target)
    assert "asked for 4 GPUs (compute.gpu), granted 1 (--resources gpu=)" in words
    card = json.loads((copied / target).with_name("card.json").read_text())
    if not torch.cuda.is_available():
        assert card["device"] == "cpu (2 processes, 1 thread each)"


def test_a_job_uses_no_more_threads_than_it_was_granted(caplog):
    before = torch.get_num_threads()
    try:
        fabric = make_fabric(0, 4)
        assert loader_workers(fabric, 2, 4) == 2
        assert torch.get_num_threads() == 2
        assert not caplog.text
        assert loader_workers(make_fabric(0, 2), 3, 2) == 1
        assert (
            "compute.loader_workers: 3, granted 2 CPU threads in all: going on with 1"
            in caplog.text
        )
        assert "compute.threads: 4 has room for all" in caplog.text
        assert loader_workers(make_fabric(0, 1), 1, 1) == 0
        assert torch.get_num_threads() == 1
        assert make_fabric(0, 2, cpu_processes=4).world_size == 2
        assert "compute.cpu_processes: 4, granted 2 CPU threads: going on with 2" in caplog.text
    finally:
        torch.set_num_threads(before)


def _other_job(folder, count, visible, claimed):
    claimed.put(gpus.claim(count, visible, folder))
    time.sleep(300)


def test_jobs_on_one_machine_get_different_gpus(monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(gpus, "_held", [])
    monkeypatch.setattr(gpus, "_claimed", {})
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-a/b,7")
    context = multiprocessing.get_context("fork")
    claimed = context.Queue()
    other = context.Process(target=_other_job, args=(tmp_path, 1, 3, claimed))
    other.start()
    assert claimed.get(timeout=60) == [0]
    assert gpus.claim(1, 3, tmp_path) == [1]
    assert gpus.claim(1, 3, tmp_path) == [1], "a job's second fabric is on another GPU"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["4.lock", "GPU-a_b.lock"]
    assert not caplog.text
    gpus._claimed.clear()
    assert gpus.claim(2, 3, tmp_path) == [0, 2]
    assert "only 1 of 3 GPUs free" in caplog.text
    other.kill()
    other.join()
    gpus._claimed.clear()
    while gpus._held:
        gpus._held.pop().close()
    assert gpus.claim(2, 3, tmp_path) == [0, 1]


def test_gpus_that_cannot_be_locked_are_used_all_the_same(monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(gpus, "_claimed", {})
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    (tmp_path / "file").touch()
    assert gpus.claim(2, 3, tmp_path / "file") == [0, 1]
    assert "cannot be locked" in caplog.text
