"""Where memory runs out a batch is computed in parts, and the step stays that of the whole batch."""

from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
import torch

from frugalvit.devices.fabric import make_fabric
from frugalvit.errors import TrainingError
from frugalvit.jobs.processes import launch
from frugalvit.methods.trained import MethodRecipe
from frugalvit.training import loop
from frugalvit.training.runs import RunFiles, train_run
from tests.small_study import (
    SGD,
    KilledError,
    files_of,
    killed_after,
    method_settings,
    weights_bytes,
    weights_of,
)
from tests.test_exits import settings_for as exits_settings
from tests.test_halting_training import settings_for as halting_settings
from tests.test_scratch import SMALL_RESNET
from tests.test_scratch import settings_for as scratch_settings
from tests.test_training import settings_for as plain_settings

ROOM = 9  # images; of 32 it takes 8 at once
HOW = {**SGD, "batch_size": 32, "keep": "last", "label_smoothing": 0.1, "clip_norm": 1.0}
HEAD, ALL = {"train": "head"}, {"train": "all", "epochs": 2, "augment": {"shift": 2}}
LAST = {"train": {"blocks": 1}, "epochs": 2}
MIXED = {"train": "all", "epochs": 2, "augment": {"mixup": 0.4, "cutmix": 1.0}, "balance": "loss"}
SETTINGS = {
    "plain": lambda: plain_settings(ALL, HEAD, **HOW),
    "mixed": lambda: plain_settings(MIXED, **HOW),  # drawn once a batch, whatever memory says later
    "last block": lambda: plain_settings(LAST, **HOW, prefix="always"),  # a list of tensors is cut
    "exits": lambda: exits_settings({"train": "exits"}, ALL, **HOW),
}
NO_MEMORY = "CUDA out of memory. Tried to allocate 2 GiB."


@contextmanager
def short_of_memory(room, where="forward", counts=None):
    """Modules train on no more than `room` images at once; `counts` gets how many each was given."""

    def stage(*arguments):
        made = loop_stage(*arguments)
        made.module.register_forward_hook(limit)
        return made

    def limit(module, inputs, outputs):
        if not module.training:
            return
        given = inputs[0] if isinstance(inputs[0], torch.Tensor) else inputs[0][0]
        if counts is not None:
            counts.append(len(given))
        if len(given) > room and where == "forward":
            raise torch.OutOfMemoryError(NO_MEMORY)
        if len(given) > room:
            outputs.register_hook(fail)

    def fail(_):
        raise torch.OutOfMemoryError(NO_MEMORY)

    loop_stage = loop.prepare_stage
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "prepare_stage", stage)
        yield


def train(study, folder, settings, fabric=None, halve=True, files=None):
    files = files or files_of(study, folder, cached=False)
    return train_run(
        fabric or make_fabric(0, 1), "mine-s0", settings, files, MethodRecipe(settings["method"]),
        batch_size=32, workers=0, code="x", halve=halve,
    )  # fmt: skip


def agree(whole, short):
    """Check that two runs agree up to rounding; the column that notes parts of the second."""
    ours, theirs = weights_of(whole), weights_of(short)
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=2e-5)
    one, other = (pd.read_csv(folder / "history.csv") for folder in (whole, short))
    assert "images_at_once" not in one
    noted = other.pop("images_at_once").tolist()
    assert list(one) == list(other)
    numbers = (table.drop(columns=["seconds", "train"]).to_numpy(float) for table in (one, other))
    assert np.allclose(*numbers, atol=2e-5, equal_nan=True)
    return noted


@pytest.mark.parametrize("where", ["forward", "backward"])
@pytest.mark.parametrize("name", SETTINGS)
def test_parts_give_the_steps_of_the_whole_batch(study, tmp_path, caplog, name, where):
    settings, counts = SETTINGS[name](), []
    train(study, tmp_path / "whole", settings)
    with caplog.at_level("WARNING"), short_of_memory(ROOM, where, counts):
        train(study, tmp_path / "short", settings)
    assert agree(tmp_path / "whole", tmp_path / "short") == [8] * len(settings_epochs(settings))
    phases = len(settings["schedule"])
    assert counts[:6] == [32, 16, 8, 8, 8, 8]
    assert counts.count(32) == phases, "each phase tries its whole batch once"
    told = [line for line in caplog.messages if "at once" in line]
    assert len(told) == 2 * phases
    assert told[0] == (
        f"out of memory for 32 images ({NO_MEMORY[:18]}): from here on 16 at once, whose gradients are "
        "added up to those of the same batch (compute.on_memory_error)"
    )


def settings_epochs(settings):
    return [phase for phase in settings["schedule"] for _ in range(phase["epochs"])]


def test_a_batch_that_fits_is_computed_whole_to_the_bit(study, tmp_path):
    settings = SETTINGS["plain"]()
    for halve in (False, True):
        train(study, tmp_path / str(halve), settings, halve=halve)
    assert weights_bytes(tmp_path / "True") == weights_bytes(tmp_path / "False")


def test_without_the_key_training_stops_and_names_it(study, tmp_path):
    with short_of_memory(ROOM), pytest.raises(TrainingError) as error:
        train(study, tmp_path, SETTINGS["plain"](), halve=False)
    assert str(error.value).startswith("experiments.mine.batch_size: out of memory in a batch (")
    assert str(error.value).endswith(", or set compute.on_memory_error: halve")


def _scratch(study, folder):
    files = RunFiles(folder, study / "store", study / "assignments.csv", base=None, features={})
    return scratch_settings(SMALL_RESNET, batch_size=32), files


@pytest.mark.parametrize(
    ("settings", "room", "reason"),
    [
        (SETTINGS["plain"], 0, "a single image is too much"),
        (lambda: halting_settings(ALL, **HOW), ROOM, "this method's loss is no mean over images"),
        (
            lambda: plain_settings(ALL, **HOW) | method_settings("localize") | {"method": "localize"},
            ROOM, "this method's loss is no mean over images",
        ),
        (None, ROOM, "this network has batch norm, which counts all images of a batch"),
    ],
    ids=["one image", "halting", "boxes", "batch norm"],
)  # fmt: skip
def test_what_would_give_other_numbers_is_not_halved(
    study, tmp_path, caplog, settings, room, reason
):
    settings, files = (settings(), None) if settings else _scratch(study, tmp_path)
    with (
        caplog.at_level("WARNING"),
        short_of_memory(room),
        pytest.raises(
            TrainingError, match=r"^experiments\.mine\.batch_size: out of memory .* lower"
        ),
    ):
        train(study, tmp_path, settings, files=files)
    assert f"compute.on_memory_error: not halved: {reason}" in caplog.text
    assert not (tmp_path / "weights.safetensors").exists()


@pytest.mark.parametrize("last_epoch", [1, 2])
def test_a_killed_run_goes_on_with_the_parts_it_had(study, tmp_path, monkeypatch, last_epoch):
    settings, counts = SETTINGS["plain"](), []
    with short_of_memory(ROOM):
        train(study, tmp_path / "whole", settings)
        monkeypatch.setattr("frugalvit.training.runs.Trainer", killed_after(last_epoch))
        with pytest.raises(KilledError):
            train(study, tmp_path / "killed", settings)
        monkeypatch.undo()
    with short_of_memory(ROOM, counts=counts):
        train(study, tmp_path / "killed", settings)
    assert counts[0] == (8 if last_epoch == 1 else 32), "the next phase tries its whole batch"
    assert weights_bytes(tmp_path / "killed") == weights_bytes(tmp_path / "whole")


def test_any_other_error_is_not_taken_for_want_of_memory(study, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr("frugalvit.training.parts.Gradients._added", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        train(study, tmp_path, SETTINGS["plain"]())


def _train_short(fabric, study, folder, settings):
    """In a process of several, of which the second alone is short of memory."""
    with short_of_memory(ROOM if fabric.global_rank else 10**9):
        train(study, folder, settings, fabric)


def test_a_process_that_is_short_of_memory_halves_its_own_share(study, tmp_path):
    settings = SETTINGS["plain"]()
    train(study, tmp_path / "whole", settings)
    (tmp_path / "short").mkdir()
    launch(make_fabric(0, 2, cpu_processes=2), _train_short, study, tmp_path / "short", settings)
    assert agree(tmp_path / "whole", tmp_path / "short") == [8, 8, 8]
