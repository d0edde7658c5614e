"""Killed with SIGKILL, started again: nothing is lost, mixed or left lying about."""

import copy
import functools
import io
import json
import os
import random
import tarfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from frugalvit.config.experiments import run_settings
from frugalvit.config.schema import merge, validate
from frugalvit.data.archives import extract_archive
from frugalvit.data.download import fetch_file
from frugalvit.data.prepare import prepare
from frugalvit.data.store import Store
from frugalvit.devices.fabric import make_fabric
from frugalvit.errors import DataError
from frugalvit.methods.trained import MethodRecipe
from frugalvit.models.base import build_from_base, load_base
from frugalvit.training.checkpoint import Checkpoint
from frugalvit.training.features import extract_to_file, image_sets
from frugalvit.training.runs import train_run
from tests import test_download, warm
from tests.chaos.killing import Call, end_orphans
from tests.imagefolders import settings as dataset_settings
from tests.imagefolders import write_folder, write_image
from tests.small_study import files_of, method_settings, weights_bytes
from tests.workflows import STUDY, edit, results_of, run

pytestmark = pytest.mark.workflow
PATIENCE = 120  # seconds; the machine may be busy
PROCESSES = warm.forkserver()


def until(condition, process=None):
    """Wait for a condition; fail where the process ends before it, or it never comes."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, "it never came"
        assert process is None or process.is_alive(), "the process ended before it was killed"
        time.sleep(0.002)
    return value


def start(function, *arguments):
    process = PROCESSES.Process(target=function, args=arguments)
    process.start()
    return process


def kill_once(process, condition):
    """SIGKILL a process as soon as a condition holds."""
    try:
        until(condition, process)
    finally:
        process.kill()
        process.join()
    assert process.exitcode == -9


def names(folder):
    return sorted(path.name for path in folder.iterdir())


OWN = {  # keys of each method's experiment
    "early_exit": {"exit_head": {"shallow": "conv", "shallow_blocks": 1, "hidden_dim": 8}},
    "avit": {"halting": {"gamma": 10, "beta": -4}},
}


def settings_for(method, *phases):
    defaults = merge(validate({}, "training"), {"batch_size": 32, "lr": 0.003})
    own = method_settings(method, **copy.deepcopy(OWN.get(method, {})))
    return run_settings(method, 0, defaults, list(phases)) | own


def train(study, folder, settings):
    torch.rand(len(str(folder)))  # a resumed run must not depend on what was drawn before it
    files = files_of(study, folder)
    train_run(
        make_fabric(0, 1),
        "mine-s0",
        settings,
        files,
        MethodRecipe(settings["method"]),
        batch_size=32,
        workers=0,
        code="x",
    )


def saved(folder, epochs):
    """Whether the checkpoint in `folder` holds so many epochs."""
    try:
        state = torch.load(folder / "last.ckpt", weights_only=True)
    except FileNotFoundError:
        return False
    return len(state["progress"]["history"]) >= epochs


HEAD, ALL, EXITS = (
    {"train": what, "epochs": epochs} for what, epochs in (("head", 40), ("all", 12), ("exits", 20))
)


@pytest.mark.parametrize(
    ("method", "phases", "moments"),
    [
        ("fine_tune", (HEAD, ALL), (5, 42)),
        ("early_exit", (EXITS, ALL), (3, 22)),
        ("avit", (ALL,), (2, 6)),
    ],
    ids=["head and all", "exits", "halting"],
)
def test_training_killed_in_each_kind_of_phase_ends_as_if_it_were_not(
    study, tmp_path, method, phases, moments
):
    settings = settings_for(method, *phases)
    train(study, tmp_path / "whole", settings)
    killed = tmp_path / "killed"
    for moment in moments:
        kill_once(start(train, study, killed, settings), functools.partial(saved, killed, moment))
    # In another process than the unbroken run's: what that one left in memory cannot help.
    last = start(train, study, killed, settings)
    last.join()
    assert last.exitcode == 0
    resumed = json.loads((killed / "card.json").read_text())["resumed_after"]
    assert len(resumed) == len(moments)
    assert all(after >= moment for after, moment in zip(resumed, moments))
    assert weights_bytes(killed) == weights_bytes(tmp_path / "whole")
    expected = ["card.json", "history.csv", "tensorboard", "weights.safetensors"]
    assert names(killed) == expected, "temporary files, token grids or a checkpoint are left over"


def extract(study, path):
    model = build_from_base(study / "base", 0)
    store, preprocessing = Store(study / "store"), load_base(study / "base")[1]["preprocessing"]
    how = (preprocessing, 40, {"shift": 3}, 0)
    extract_to_file(make_fabric(0, 1), model, image_sets(store, store.ids("train"), *how), path, 8)


def test_extraction_killed_leaves_no_features_and_then_the_same(study, tmp_path):
    extract(study, tmp_path / "whole" / "train.npy")
    folder = tmp_path / "killed"
    path = folder / "train.npy"

    def begun():
        return any(file.stat().st_size for file in folder.glob(".train.npy.*"))

    for _ in range(2):
        kill_once(start(extract, study, path), begun)
        assert not path.exists()
        assert len(names(folder)) == 1, "two kills leave one file: the next extraction removes it"
    extract(study, path)
    assert path.read_bytes() == (tmp_path / "whole" / "train.npy").read_bytes()
    assert names(folder) == ["train.npy"]


def test_preparation_killed_leaves_no_store_and_then_the_same(tmp_path):
    images = write_folder(tmp_path / "photos", {"train/class_0": 50, "train/class_1": 50})
    last = images / "train" / "class_1" / "last.png"
    os.mkfifo(last)  # whoever decodes it waits
    dataset = dataset_settings(path=str(images))
    folder = tmp_path / "killed"
    arguments = (dataset, tmp_path / "raw", folder, 2)
    helpers = []

    def decoding(pid):
        helpers[:] = psutil.Process(pid).children(recursive=True)
        # They start once what an earlier kill left is gone.
        arrays = folder.glob(".train.npy.????????.npy") if len(helpers) >= 2 else ()
        return any(any(array.read_bytes()[200:2000]) for array in arrays)

    for _ in range(2):
        process = start(prepare, *arguments)
        kill_once(process, functools.partial(decoding, process.pid))
        assert not (folder / "index.csv").exists()
        with pytest.raises(DataError, match=r"index\.csv is missing"):
            Store(folder)
        assert len(names(folder)) == 3, "one temporary array a split, not one more a kill"
        _, alive = psutil.wait_procs(helpers, timeout=10)
        assert not alive, "decoding processes outlive the one that started them"
    last.unlink()
    write_image(last)
    prepare(*arguments)
    prepare(dataset, tmp_path / "raw", tmp_path / "whole")
    assert names(folder) == names(tmp_path / "whole")
    for name in names(folder):
        assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


class Stalling(test_download.Handler):
    """Sends the first half of a file and then nothing, for as long as the server is told to."""

    def do_GET(self):
        if self.server.stalled.is_set():
            super().do_GET()
            return
        self.server.requests.append(dict(self.headers))
        half = self.server.content[: len(self.server.content) // 2]
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.send_header("ETag", self.server.etag)
        self.end_headers()
        self.wfile.write(half)
        self.wfile.flush()
        self.server.stalled.wait(PATIENCE)


@pytest.fixture
def server():
    server = test_download.Server()
    server.RequestHandlerClass = Stalling
    server.stalled = threading.Event()  # set: no longer stalled
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.stalled.set()
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_download_killed_goes_on_from_its_last_byte(server, tmp_path):
    fetch = functools.partial(
        fetch_file, "data.bin", server.url, tmp_path, sha256=test_download.SHA256
    )
    part, half = tmp_path / "data.bin.part", len(server.content) // 2
    kill_once(start(fetch), lambda: part.exists() and part.stat().st_size == half)
    assert not (tmp_path / "data.bin").exists()
    server.stalled.set()
    assert fetch().read_bytes() == server.content
    assert server.requests[-1]["Range"] == f"bytes={half}-"
    assert names(tmp_path) == ["data.bin"]


def test_a_second_download_waits_for_the_first(server, tmp_path):
    fetch = functools.partial(fetch_file, "data.bin", server.url, tmp_path)
    first = start(fetch)
    until((tmp_path / "data.bin.part").exists, first)
    second = start(fetch)
    second.join(2)
    assert second.is_alive()
    server.stalled.set()
    first.join()
    second.join()
    assert first.exitcode == second.exitcode == 0
    ranges = [request.get("Range") for request in server.requests]
    assert ranges == [None, f"bytes={len(server.content) // 2}-"], "one of them fetched it"
    assert (tmp_path / "data.bin").read_bytes() == server.content


def test_unpacking_killed_leaves_nothing_that_stays(tmp_path):
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as tar:
        for number in range(5_000):
            tar.addfile(tarfile.TarInfo(f"train/rose/{number}.png"), io.BytesIO())
    process = start(extract_archive, archive, tmp_path / "unpacked")
    kill_once(process, lambda: list(tmp_path.glob(".unpacked.*.unpacking/train/rose/9.png")))
    assert not (tmp_path / "unpacked").exists()
    assert len(list(tmp_path.glob(".unpacked.*.unpacking"))) == 1
    extract_archive(archive, tmp_path / "unpacked")
    assert len(names(tmp_path / "unpacked" / "train" / "rose")) == 5_000
    assert names(tmp_path) == ["a.tar", "unpacked"]


class Bomb:
    """A pickle that does something when it is read."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def damaged(content, folder):
    """Checkpoints that cannot be read: name -> bytes."""
    rng = random.Random(0)
    cuts = {
        f"cut at {part:.0%}": content[: int(part * len(content))] for part in (0, 0.01, 0.5, 0.99)
    }
    noise = {f"noise {n}": rng.randbytes(rng.choice([1, 100, 10_000])) for n in range(200)}
    # A pickle's first bytes, and then noise: what reads it gets further.
    noise |= {f"pickled noise {n}": b"\x80\x02" + rng.randbytes(60) for n in range(400)}
    flipped = {}
    for number in range(100):
        broken = bytearray(content)
        for place in rng.sample(range(len(content)), 1):
            broken[place] ^= 0xFF
        flipped[f"flipped {number}"] = bytes(broken)
    bomb = folder / "bomb.ckpt"
    torch.save({"stamp": "mine", "bomb": Bomb(folder / "exploded")}, bomb)
    torch.save({"stamp": "mine", "bomb": Bomb(folder / "exploded")}, folder / "old.ckpt",
               _use_new_zipfile_serialization=False)  # fmt: skip
    others = {"no dictionary": folder / "list.ckpt"}
    torch.save([1, 2], others["no dictionary"])
    read = {name: path.read_bytes() for name, path in others.items()}
    bombs = {"bomb": bomb.read_bytes(), "old bomb": (folder / "old.ckpt").read_bytes()}
    return cuts | noise | flipped | bombs | read


def test_a_checkpoint_that_cannot_be_read_is_discarded_with_a_message(tmp_path, caplog):
    good = Checkpoint(tmp_path / "good.ckpt", "mine")
    good.save({"progress": {"phase": 1}, "model": {"weight": torch.ones(20, 20)}, "optimizer": {}})
    content = good.path.read_bytes()
    path = tmp_path / "last.ckpt"
    for name, bytes_ in damaged(content, tmp_path).items():
        path.write_bytes(bytes_)
        caplog.clear()
        with caplog.at_level("INFO"):
            state = Checkpoint(path, "mine").load()
        if name.startswith("flipped") and state is not None:
            assert torch.equal(state["model"]["weight"], torch.ones(20, 20)), name
            continue  # in the padding alone
        assert state is None, name
        assert "discarded" in caplog.text, name
        assert not path.exists(), name
    assert not (tmp_path / "exploded").exists()
    assert Checkpoint(good.path, "other").load() is None
    assert not good.path.exists()


def test_snakemake_killed_with_its_job_and_without_goes_on(copied, tmp_path):
    target = "results/tiny/runs/unfreeze_last-s0/weights.safetensors"
    arguments = ["--configfile", STUDY, "--cores", "2", "--resources", "gpu=0"]
    call = [*arguments, "--rerun-incomplete", "--", target]
    log = tmp_path / "log"

    def longer(study):
        study["experiments"]["unfreeze_last"]["schedule"][1]["epochs"] = 120

    checkpoint = copied / Path(target).with_name("last.ckpt")
    whole = names(checkpoint.parent)  # of the finished run

    def begun(process):
        until(lambda: checkpoint.exists() or process.poll() is not None)
        assert process.poll() is None, log.read_text()[-3000:]
        return checkpoint.stat().st_mtime_ns

    edit(copied, longer)
    with Call(copied, call, log) as first:
        begun(first.process)
        first.kill("group", random.Random(0))
    run(copied, *arguments, "--unlock")
    with Call(copied, call, log) as second:
        before = begun(second.process)
        until(lambda: begun(second.process) != before)
        second.kill("snakemake", random.Random(0))
    try:
        for orphan in second.orphans:
            orphan.suspend()  # so that it is not done before the next call comes to it
        run(copied, *arguments, "--unlock")
        with Call(copied, call, log) as third:
            until(lambda: "waiting: process" in log.read_text() or third.process.poll() is not None)
            for orphan in second.orphans:
                orphan.resume()
            assert third.process.wait() == 0, log.read_text()[-3000:]
    finally:
        end_orphans(second.orphans, 0)
    assert "waiting: process" in log.read_text()
    assert "made by the process waited for" in log.read_text()
    folder = results_of(copied) / "runs" / "unfreeze_last-s0"
    assert json.loads((folder / "card.json").read_text())["resumed_after"], "epochs were not used"
    weights, table = weights_bytes(folder), (folder / "history.csv").read_text()
    assert names(folder) == whole

    run(copied, *arguments, "--forcerun", "train_run", "--", target)
    assert json.loads((folder / "card.json").read_text())["resumed_after"] == []
    assert weights_bytes(folder) == weights
    assert without_seconds(folder / "history.csv") == without_seconds(table)


def without_seconds(table):
    text = table if isinstance(table, str) else table.read_text()
    column = text.splitlines()[0].split(",").index("seconds")
    return [np.delete(line.split(","), column).tolist() for line in text.splitlines()]
