"""Faults of the machine: a full or read-only disk, too little memory, killed processes."""

import errno
import io
import logging
import os
import resource
import shutil
import signal
import subprocess
import tarfile
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from torch import nn

from frugalvit.config.experiments import run_settings
from frugalvit.config.schema import merge, validate
from frugalvit.data.archives import extract_archive
from frugalvit.data.arrays import reserve
from frugalvit.data.batches import ImageSet, batches
from frugalvit.data.download import fetch_file
from frugalvit.data.prepare import prepare
from frugalvit.data.store import Store
from frugalvit.devices.fabric import make_fabric
from frugalvit.errors import DataError, StorageError, TrainingError
from frugalvit.evaluation.predict import predict
from frugalvit.files import real_path, write_csv, write_json
from frugalvit.jobs.lock import exclusive
from frugalvit.jobs.run import mistake, run_job
from frugalvit.methods.trained import MethodRecipe
from frugalvit.models.base import build_from_base, load_base
from frugalvit.models.weights.tensors import save
from frugalvit.training.checkpoint import Checkpoint
from frugalvit.training.features import extract_to_file, image_sets
from frugalvit.training.loop import Trainer
from frugalvit.training.runs import train_run
from tests.imagefolders import settings as dataset_settings
from tests.imagefolders import write_folder, write_image
from tests.small_study import files_of, method_settings

PATIENCE = 120  # seconds; the machine may be busy
PHOTOS = {"train/class_0": 4, "train/class_1": 4}


@pytest.fixture
def disk(tmp_path):
    """A disk of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.geteuid() or not shutil.which("mount"):
        pytest.skip("only root can mount a small disk")
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def full(disk):
    """Fill a disk to its last byte while the block runs."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while file.write(b"0" * 4096):
            pass
    yield
    ballast.unlink()


@contextmanager
def small_files(folder):
    """No file may be longer than a few bytes while the block runs, as on a disk that is full."""
    folder.mkdir(exist_ok=True)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def write_features(study, folder):
    store, model = Store(study / "store"), build_from_base(study / "base", 0)
    preprocessing = load_base(study / "base")[1]["preprocessing"]
    sets = image_sets(store, store.ids("valid"), preprocessing, 0, {}, seed=0)
    extract_to_file(make_fabric(0, 1), model, sets, folder / "valid.npy", 16)


def write_store(study, folder):
    images = study.parent / f"photos-{os.getpid()}"
    if not images.exists():
        write_folder(images, PHOTOS)
    prepare(dataset_settings(path=str(images)), folder / "raw", folder)


def unpack(study, folder):
    archive = study.parent / f"photos-{os.getpid()}.tar"
    if not archive.exists():
        member = tarfile.TarInfo("a/0.png")
        member.size = 20_000
        with tarfile.open(archive, "w") as tar:
            tar.addfile(member, io.BytesIO(bytes(member.size)))
    extract_archive(archive, folder / "photos")


def copy_from_mirror(study, folder):
    mirror = study.parent / f"mirror-{os.getpid()}"
    if not mirror.exists():
        mirror.mkdir()
        (mirror / "data.bin").write_bytes(bytes(20_000))
    fetch_file("data.bin", None, folder, mirror=mirror)


WRITERS = {
    "weights.safetensors": lambda study, folder: save(
        folder / "weights.safetensors", {"a": torch.zeros(9000)}
    ),
    "last.ckpt": lambda study, folder: Checkpoint(folder / "last.ckpt", "mine").save(
        {"weights": torch.zeros(9000)}
    ),
    "card.json": lambda study, folder: write_json(folder / "card.json", list(range(9000))),
    "metrics.csv": lambda study, folder: write_csv(
        folder / "metrics.csv", pd.DataFrame({"accuracy": range(9000)})
    ),
    "grid.npy": lambda study, folder: reserve(folder / "grid.npy", (9000,), np.dtype(np.float32)),
    "valid.npy": write_features,
    "train.npy": write_store,
    "photos": unpack,
    "data.bin": copy_from_mirror,
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("fault", ["full", "small files"])
def test_a_full_disk_is_one_line_and_leaves_no_half_file(study, tmp_path, request, fault, name):
    folder = request.getfixturevalue("disk") if fault == "full" else tmp_path / "disk"
    (tmp_path / "whole").mkdir()
    WRITERS[name](study, tmp_path / "whole")
    with full(folder) if fault == "full" else small_files(folder):
        with pytest.raises(StorageError) as error:
            WRITERS[name](study, folder)
        left = {path.name for path in folder.iterdir()} - {"ballast"}
    told = "no space is left on the disk; free some" if fault == "full" else "larger than a file"
    assert str(error.value).startswith(f"{folder / name}: ")
    assert told in str(error.value)
    assert str(error.value).endswith("run again")
    assert left <= ({"grid.npy"} if name == "grid.npy" else set()), "scratch goes with its folder"
    WRITERS[name](study, folder)  # with room again
    for path in (tmp_path / "whole").iterdir():
        if path.is_file():
            assert (folder / path.name).read_bytes() == path.read_bytes()


def test_a_read_only_disk_is_one_line(disk):
    write_json(disk / "card.json", 1)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)

    def lock():
        with exclusive(disk / ".card.json.lock", str(disk / "card.json")):
            pass

    for write in (lambda: write_json(disk / "card.json", 2), lock):
        with pytest.raises(StorageError) as error:
            write()
        assert str(error.value) == (
            f"{disk / 'card.json'}: cannot be written: the file system is read-only; make it writable "
            "and run again"
        )
    assert (disk / "card.json").read_text() == "1\n"


@pytest.mark.parametrize("number", ["ENOSPC", "EDQUOT", "EROFS", "EACCES"])
def test_what_the_system_refuses_is_named_whatever_writes(tmp_path, monkeypatch, number):
    code = getattr(errno, number)

    def refuse(table, path, index):
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(pd.DataFrame, "to_csv", refuse)
    path = tmp_path / "summary.csv"
    with pytest.raises(StorageError) as error:
        write_csv(path, pd.DataFrame({"a": [1]}))
    assert str(error.value).startswith(f"{path}: cannot be written: ")
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_another_file_is_not_said_of_the_one_written(tmp_path):
    with pytest.raises(PermissionError), pytest.MonkeyPatch.context() as patch:
        error = PermissionError(errno.EACCES, "Permission denied", "photo.jpg")
        patch.setattr(pd.DataFrame, "to_csv", lambda *_, **__: (_ for _ in ()).throw(error))
        write_csv(tmp_path / "summary.csv", pd.DataFrame({"a": [1]}))


def test_the_real_name_of_what_is_written_under_another():
    for name, real in {
        ".train.npy.ab12_xyz.npy": "train.npy",
        ".card.json.abcdefgh.json": "card.json",
        ".weights.safetensors.lock": "weights.safetensors",
        ".photos.abcdefgh.unpacking": "photos",
        "data.bin.part": "data.bin",
        "data.bin.part.json": "data.bin",
        "card.json": "card.json",
    }.items():
        assert real_path(f"runs/{name}").name == real


CPU_ALLOCATION = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you "
    "tried to allocate 9 bytes. Error code 12 (Cannot allocate memory)"
)
KILLED = "DataLoader worker (pid(s) 12, 13) exited unexpectedly"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "x", "a/.card.json.lock"), "a/card.json: no space is left on the"),
        (OSError(errno.EDQUOT, "x"), "your quota on the disk is used up"),
        (MemoryError(), r"out of memory (MemoryError); lower evaluation.batch_size"),
        (RuntimeError(CPU_ALLOCATION), "DefaultCPUAllocator: can't allocate memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."), "CUDA out of memory"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), "was killed (Killed)"),
        (RuntimeError(KILLED), "a process that reads images was killed"),
        (FileNotFoundError(errno.ENOENT, "No such file", "x"), None),
        (RuntimeError("shapes differ"), None),
    ],
)  # fmt: skip
def test_what_the_machine_refuses_is_one_line_at_the_jobs_edge(tmp_path, error, told):
    found = mistake(error)
    assert (found is None) == (told is None)
    if found:
        assert told in str(found)
    log = tmp_path / "logs" / "rule.log"
    job = SimpleNamespace(
        log=[str(log)], output=[str(tmp_path / "out.csv")], rule="summarize", input=[], params={}
    )

    def main(_):
        raise error

    kept, raising = logging.getLogger().handlers[:], logging.raiseExceptions
    try:
        with pytest.raises(SystemExit):
            run_job(main, job)
    finally:
        logging.basicConfig(handlers=kept, force=True)
        logging.raiseExceptions = raising
    words = log.read_text()
    assert words.startswith("error: ") == (told is not None)
    assert ("Traceback" in words) == (told is None)
    assert len(words.splitlines()) == 1 or told is None


class Greedy(nn.Module):
    """Asks for more memory than there is."""

    def forward(self, pixels):
        return torch.empty(2**55)


def test_evaluation_without_memory_names_the_key_to_lower(study):
    store, preprocessing = Store(study / "store"), load_base(study / "base")[1]["preprocessing"]
    images = ImageSet(store, store.ids("test"), preprocessing)
    with pytest.raises(
        TrainingError, match=r"^evaluation\.batch_size: out of memory .*; lower eval"
    ):
        predict(make_fabric(0, 1), Greedy(), images, 8)


@pytest.mark.parametrize(
    ("run", "key"),
    [("mine-s0", "experiments.mine.batch_size"), ("pretrain", "base.pretrain.training.batch_size")],
)
def test_training_without_memory_names_the_key_to_lower(study, tmp_path, monkeypatch, run, key):
    def fit(_):
        torch.empty(2**55)

    monkeypatch.setattr(Trainer, "fit", fit)
    defaults = merge(validate({}, "training"), {"batch_size": 32, "lr": 0.003})
    phase = {"train": "all", "epochs": 1}
    settings = run_settings("fine_tune", 0, defaults, [phase]) | method_settings("fine_tune")
    with pytest.raises(TrainingError) as error:
        train_run(
            make_fabric(0, 1), run, settings, files_of(study, tmp_path), MethodRecipe("fine_tune"),
            batch_size=32, workers=0, code="x",
        )  # fmt: skip
    assert str(error.value).startswith(f"{key}: out of memory in a batch (")
    assert str(error.value).endswith(
        f"lower {key} or evaluation.batch_size, or set compute.on_memory_error: halve"
    )
    assert not (tmp_path / "weights.safetensors").exists()


class Killed(ImageSet):
    """Images whose reader is killed."""

    def __getitems__(self, positions):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_loader_process_is_one_line(study):
    store, preprocessing = Store(study / "store"), load_base(study / "base")[1]["preprocessing"]
    images = Killed(store, store.ids("test"), preprocessing)
    with pytest.raises(RuntimeError) as error:
        list(batches(images, 8, workers=1))
    told = str(mistake(error.value))
    assert told.startswith("a process that reads images was killed")
    assert "lower compute.loader_workers" in told


def test_a_killed_decoding_process_is_one_line_and_leaves_no_store(tmp_path):
    images = write_folder(tmp_path / "photos", {"train/class_0": 40, "train/class_1": 40})
    last = images / "train" / "class_1" / "last.png"
    os.mkfifo(last)  # whoever decodes it waits
    ended = threading.Event()

    def kill():
        deadline = time.monotonic() + PATIENCE
        while not ended.is_set() and time.monotonic() < deadline:
            for child in psutil.Process().children():
                if "spawn_main" in " ".join(child.cmdline()):
                    child.kill()
                    return
            time.sleep(0.05)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with pytest.raises(DataError, match="a decoding process was killed, most often for memory"):
            prepare(dataset_settings(path=str(images)), tmp_path / "raw", tmp_path / "store", 2)
    finally:
        ended.set()
        killer.join()
    assert list((tmp_path / "store").iterdir()) == []
    last.unlink()
    write_image(last)
    prepare(dataset_settings(path=str(images)), tmp_path / "raw", tmp_path / "store", 1)
    assert len(Store(tmp_path / "store").images("train")) == 81
