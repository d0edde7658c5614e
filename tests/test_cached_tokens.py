"""Last blocks that train on stored tokens of the frozen ones: as they do on images, for every method."""

from collections import namedtuple

import pandas as pd
import pytest
import torch

from frugalvit.data.store import Store
from frugalvit.devices.fabric import make_fabric
from frugalvit.errors import TrainingError
from frugalvit.models.base import build_from_base, load_card
from frugalvit.models.halves import FirstHalf
from frugalvit.training import prefix
from frugalvit.training.features import image_sets
from frugalvit.training.parallel import Share
from tests.small_study import SGD, KilledError, killed_after, weights_bytes, weights_of
from tests.test_exits import HEADS
from tests.test_exits import settings_for as exits_settings
from tests.test_halting_training import settings_for as halting_settings
from tests.test_halting_training import train
from tests.test_training import settings_for as plain_settings

LAST = {"train": {"blocks": 1}, "epochs": 3}
SHIFTED = {"augment": {"shift": 2}}


def settings_of(name, **training):
    """A run's settings, whose last phase trains the last of three blocks."""
    return {
        "plain": lambda: plain_settings(LAST, **training),
        "exits": lambda: exits_settings(LAST, exits={"exit_head": HEADS["conv"]}, **training),
        "halting": lambda: halting_settings(LAST, **training),
        "taught": lambda: halting_settings(LAST, distillation={"weight": 0.5}, **training),
    }[name]()


@pytest.fixture(scope="module")
def teacher(study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    train(study, folder, plain_settings({"train": "all"}))
    return folder


@pytest.fixture
def passes(monkeypatch):
    """Images that went through the frozen blocks, by whatever first half."""
    counted = []
    made = prefix.first_half

    def first_half(*arguments):
        half = made(*arguments)
        half.register_forward_hook(lambda module, given, state: counted.append(len(given[0])))
        return half

    monkeypatch.setattr(prefix, "first_half", first_half)
    return counted


@pytest.mark.parametrize("name", ["plain", "exits", "halting", "taught"])
def test_stored_and_live_tokens_train_the_same(study, teacher, tmp_path, passes, name):
    files = {"teacher": teacher} if name == "taught" else {}
    histories = {}
    for cached in (True, False):
        settings = settings_of(name, cache_tokens=cached, **SGD)
        histories[cached] = train(study, tmp_path / str(cached), settings, **files)
        # 96 images train and 48 validate; one more of each tells how large a state is.
        assert sum(passes) == (146 if cached else 0)
        passes.clear()
    stored, live = (weights_of(tmp_path / str(cached)) for cached in (True, False))
    for part in live:
        torch.testing.assert_close(stored[part], live[part], atol=1e-3, rtol=1e-2)
    losses = ["train_loss", "valid_loss"]
    pd.testing.assert_frame_equal(histories[True][losses], histories[False][losses], rtol=2e-3)


@pytest.mark.parametrize("last_epoch", [1, 2, 3, 5])
def test_a_run_killed_among_stored_tokens_ends_as_one_never_killed(
    study, tmp_path, monkeypatch, last_epoch
):
    phases = {"train": "all", "epochs": 1}, {**LAST, **SHIFTED}, LAST
    settings = plain_settings(*phases, views=2, dropout=0.2, keep="last")
    train(study, tmp_path / "whole", settings)
    monkeypatch.setattr("frugalvit.training.runs.Trainer", killed_after(last_epoch))
    with pytest.raises(KilledError):
        train(study, tmp_path / "killed", settings)
    monkeypatch.undo()
    train(study, tmp_path / "killed", settings)
    assert weights_bytes(tmp_path / "killed") == weights_bytes(tmp_path / "whole")
    for run in ("whole", "killed"):
        assert not list((tmp_path / run).glob(".tokens-*"))


def test_views_are_stored_each_and_drawn_anew_every_epoch(study, tmp_path, passes, caplog):
    settings = plain_settings({**LAST, **SHIFTED}, views=2)
    with caplog.at_level("INFO"):
        history = train(study, tmp_path / "views", settings)
    assert sum(passes) == 2 * 96 + 48 + 2
    # Ten tokens of 16 channels in 16 bits.
    assert "train after block 2 of 96 images in 2 views: 0 MB on disk, 0 kB each" in caplog.messages
    one_view = train(study, tmp_path / "one", plain_settings(LAST, views=2))
    assert history["train_loss"].tolist() != one_view["train_loss"].tolist()


def test_boxes_follow_the_view_that_is_drawn(study, tmp_path):
    fabric = make_fabric(0, 1)
    store = Store(study / "store")
    how = (store, store.ids("train"), load_card(study / "base")["preprocessing"])
    sets = image_sets(*how, views=2, augment={"shift": 6}, seed=3, boxed=True)
    model = build_from_base(study / "base", 3)
    path = tmp_path / "train"
    stored = prefix.store_states(Share(fabric), model, None, 2, sets, path, 32, seed=1)
    drawn = []
    for stored.epoch in range(4):
        (tokens,), targets = stored.__getitems__([5, 9])
        for place, image in enumerate((5, 9)):
            (view,) = (v for v in (0, 1) if torch.equal(stored.labels[image, v], targets[place]))
            assert (tokens[place].numpy() == stored.arrays[0][image, view]).all()
            drawn.append(view)
    assert set(drawn) == {0, 1}


def test_no_room_for_tokens_is_one_line_and_leaves_nothing(study, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(prefix.shutil, "disk_usage", lambda path: usage(10, 10, 1000))
    with pytest.raises(
        TrainingError, match=r"cache_tokens: .* GB of tokens would not fit .* false"
    ):
        train(study, tmp_path, plain_settings(LAST))
    assert not list(tmp_path.glob(".tokens-*"))


def test_a_token_too_large_for_16_bits_is_one_line(study, tmp_path, monkeypatch):
    plain = FirstHalf.forward
    monkeypatch.setattr(FirstHalf, "forward", lambda self, images: [plain(self, images)[0] * 1e6])
    with pytest.raises(
        TrainingError, match="after block 2 is too large for 16 bits; set cache_tokens"
    ):
        train(study, tmp_path, plain_settings(LAST))
