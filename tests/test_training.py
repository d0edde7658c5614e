"""The one loop: frozen parts stay, caches agree, runs repeat and resume to the bit."""

import copy
import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch

from frugalvit.config.experiments import run_settings
from frugalvit.config.schema import merge, validate
from frugalvit.data.batches import ImageSet, batches
from frugalvit.data.feature_files import read_features
from frugalvit.data.sources.scattered_digits import draw
from frugalvit.data.store import Store
from frugalvit.devices.fabric import make_fabric
from frugalvit.errors import ConfigError, TrainingError
from frugalvit.evaluation.predict import predict, predict_from_features
from frugalvit.jobs import progress as shown
from frugalvit.methods.trained import MethodRecipe, load_run
from frugalvit.models.backbone import forward_intermediates, logits_from_class_token
from frugalvit.models.base import build_from_base, load_base
from frugalvit.training.passes import Passes
from frugalvit.training.phases import Patience, rate_factor
from frugalvit.training.runs import train_run
from frugalvit.training.search import kept_epoch, select_point
from tests.small_study import SGD, KilledError, files_of, killed_after, weights_bytes

HEAD, ALL, LAST_TWO = "head", "all", {"blocks": 2}


def settings_for(*phases, seed=0, **training):
    """A run's settings, as the study would expand them."""
    defaults = merge(validate({}, "training"), {"batch_size": 32, **training})
    return run_settings("fine_tune", seed, defaults, [{"epochs": 1, **phase} for phase in phases])


def train(study, folder, settings, **options):
    fabric = make_fabric(0, 1)
    files = files_of(study, folder, **options)
    progress = train_run(
        fabric,
        "run",
        settings,
        files,
        MethodRecipe(settings["method"]),
        batch_size=32,
        workers=0,
        code="x",
    )
    return load_run(folder)[0].state_dict(), progress


SCHEDULES = {
    "frozen": [{"train": HEAD, "epochs": 3}],
    "unfreeze_first": [{"train": ALL}, {"train": HEAD, "epochs": 2}],
    "unfreeze_last": [{"train": HEAD, "epochs": 2}, {"train": ALL}],
    "last_two": [{"train": LAST_TWO, "epochs": 3, "layer_decay": 0.5}],
}


def test_a_long_epoch_says_how_far_it_is(study, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(shown, "LINE_SECONDS", 0.0)
    with caplog.at_level("INFO"):
        train(study, tmp_path, settings_for({"train": ALL}), cached=False)
    told = [line for line in caplog.messages if line.startswith("epoch 1: ")]
    # 96 images to train on and 48 to validate with, 32 a batch; the epoch's own line is the last.
    assert [line.split(",")[0] for line in told] == [
        f"epoch 1: {done} of 144 images" for done in (32, 64, 96, 128)
    ]
    assert [line for line in caplog.messages if "parameters train" in line] == [
        line for line in caplog.messages if line.startswith("train all: ")
    ], "what is frozen part by part is told by the early check"
    assert not [line for line in caplog.messages if line.endswith(": trains")]


@pytest.mark.parametrize("name", SCHEDULES)
def test_exactly_what_a_schedule_names_changes(study, tmp_path, name):
    settings = settings_for(*SCHEDULES[name], keep="last")
    trained, progress = train(study, tmp_path, settings)
    base, _ = load_base(study / "base")
    changed = {key for key in base if not torch.equal(base[key], trained[key])}
    deep = {key for key in base if "encoder_layer_0" in key or not key.startswith("encoder")}
    positions = {"encoder.pos_embedding"}
    expected = {
        "frozen": set(),
        "unfreeze_first": set(base),
        "unfreeze_last": set(base),
        "last_two": set(base) - deep - positions,
    }[name]
    assert changed == expected
    assert trained["heads.head.weight"].abs().sum() > 0
    assert len(progress.history) == 3


@pytest.mark.parametrize("name", SCHEDULES)
def test_one_seed_gives_one_file_and_another_gives_another(study, tmp_path, name):
    settings = settings_for(*SCHEDULES[name])
    train(study, tmp_path / "a", settings)
    train(study, tmp_path / "b", settings)
    train(study, tmp_path / "c", settings | {"seed": 1})
    assert weights_bytes(tmp_path / "a") == weights_bytes(tmp_path / "b")
    assert weights_bytes(tmp_path / "a") != weights_bytes(tmp_path / "c")


@pytest.mark.parametrize("last_epoch", [1, 2, 3, 4, 5])
def test_a_run_killed_in_any_epoch_ends_as_one_never_killed(
    study, tmp_path, monkeypatch, last_epoch
):
    settings = settings_for(
        {"train": HEAD, "epochs": 2, "lr_schedule": "cosine", "warmup_epochs": 1},
        {"train": ALL, "augment": {"shift": 2}, "lr_schedule": "plateau", "plateau_patience": 0},
        {"train": HEAD, "epochs": 2},
        dropout=0.2,
    )
    train(study, tmp_path / "whole", settings)

    monkeypatch.setattr("frugalvit.training.runs.Trainer", killed_after(last_epoch))
    with pytest.raises(KilledError):
        train(study, tmp_path / "killed", settings)
    assert (tmp_path / "killed" / "last.ckpt").exists()
    monkeypatch.undo()
    _, progress = train(study, tmp_path / "killed", settings)
    assert progress.resumed_after == [last_epoch]
    assert weights_bytes(tmp_path / "killed") == weights_bytes(tmp_path / "whole")
    histories = [
        pd.read_csv(tmp_path / run / "history.csv").drop(columns="seconds")
        for run in ("killed", "whole")
    ]
    pd.testing.assert_frame_equal(*histories, check_exact=True)
    assert not (tmp_path / "killed" / "last.ckpt").exists()


@pytest.mark.parametrize("damage", ["other settings", "cut short", "no checkpoint"])
def test_a_checkpoint_that_does_not_belong_is_discarded(
    study, tmp_path, monkeypatch, caplog, damage
):
    settings = settings_for({"train": ALL, "epochs": 2})
    train(study, tmp_path / "whole", settings)
    killed = settings if damage != "other settings" else settings | {"seed": 5}
    folder = tmp_path / "killed"

    class Killed(Passes):
        def validate(self, *arguments):
            if (folder / "last.ckpt").exists():
                raise KilledError
            return super().validate(*arguments)

    monkeypatch.setattr("frugalvit.training.loop.Passes", Killed)
    with pytest.raises(KilledError):
        train(study, folder, killed)
    monkeypatch.undo()
    checkpoint = folder / "last.ckpt"
    if damage == "cut short":
        checkpoint.write_bytes(checkpoint.read_bytes()[:2000])
    if damage == "no checkpoint":
        checkpoint.write_bytes(b"not a checkpoint")
    with caplog.at_level("INFO"):
        _, progress = train(study, folder, settings)
    assert "discarded" in caplog.text
    assert progress.resumed_after == []
    assert weights_bytes(folder) == weights_bytes(tmp_path / "whole")


def test_cached_and_live_logits_agree(study):
    store = Store(study / "store")
    ids = store.ids("train")[::-1]
    images = ImageSet(store, ids, load_base(study / "base")[1]["preprocessing"])
    torch.manual_seed(0)
    model = build_from_base(study / "base", 10)
    torch.nn.init.normal_(model.heads.head.weight)
    fabric = make_fabric(0, 1)
    live = predict(fabric, model, images, 7)
    features = read_features(study / "features" / "plain", images, [3])[:, 0]
    cached = predict_from_features(fabric, model, features, 32)
    assert live.abs().max() > 0.5
    assert (cached - live).abs().max() < 1e-5


def test_features_hold_every_block_and_view(study):
    store = Store(study / "store")
    plain = np.load(study / "features" / "plain" / "valid.npy")
    views = np.load(study / "features" / "views" / "valid.npy")
    assert plain.shape == (48, 1, 3, 2, 16)
    assert views.shape == (48, 3, 3, 2, 16)
    assert not np.array_equal(views[:, 0], views[:, 1])
    model = build_from_base(study / "base", 10).eval()
    ids = store.ids("valid")
    images = ImageSet(store, ids, load_base(study / "base")[1]["preprocessing"])
    pixels, _ = images.__getitems__([0, 1, 2])
    with torch.inference_mode():
        tokens, means = forward_intermediates(model, pixels)
        logits = logits_from_class_token(model, tokens[:, -1])
        assert torch.allclose(logits, model(pixels), atol=1e-6)
    assert np.allclose(plain[:3, 0, :, 0], tokens, atol=1e-6)
    assert np.allclose(plain[:3, 0, :, 1], means, atol=1e-6)


def test_head_phases_cost_no_backbone_pass(study, tmp_path, monkeypatch):
    passes = []
    original = torch.nn.Conv2d.forward

    def counted(self, pixels):
        passes.append(len(pixels))
        return original(self, pixels)

    monkeypatch.setattr(torch.nn.Conv2d, "forward", counted)
    train(study, tmp_path / "a", settings_for({"train": HEAD, "epochs": 4}))
    assert not passes
    train(study, tmp_path / "b", settings_for({"train": ALL}, {"train": HEAD, "epochs": 4}))
    # One epoch of training and validating, then features of both once.
    assert sum(passes) == 2 * (96 + 48)


def test_without_the_cache_the_head_learns_the_same(study, tmp_path):
    phases = [{"train": HEAD, "epochs": 2, **SGD}]
    cached, _ = train(study, tmp_path / "a", settings_for(*phases))
    live, _ = train(study, tmp_path / "b", settings_for(*phases, cache_features=False))
    difference = (cached["heads.head.weight"] - live["heads.head.weight"]).abs().max()
    assert difference < 1e-5 < cached["heads.head.weight"].abs().max() / 100


def test_the_best_epoch_is_kept_or_the_last(study, tmp_path):
    harmful = {"train": ALL, "epochs": 1, "lr": 3.0}
    schedule = [{"train": ALL, "epochs": 5, "lr": 0.003}, harmful]
    best, progress = train(study, tmp_path / "best", settings_for(*schedule))
    last, _ = train(study, tmp_path / "last", settings_for(*schedule, keep="last"))
    accuracies = [row["valid_accuracy"] for row in progress.history]
    assert accuracies[progress.best_epoch - 1] == max(accuracies)
    assert progress.best_epoch < 6, "this test needs a second phase that does harm"
    assert not torch.equal(best["heads.head.weight"], last["heads.head.weight"])
    store = Store(study / "store")
    valid = store.index[store.index["split"] == "valid"]
    images = ImageSet(store, valid["id"].tolist(), load_base(study / "base")[1]["preprocessing"])
    logits = predict(make_fabric(0, 1), load_run(tmp_path / "best")[0], images, 32)
    accuracy = (logits.argmax(1) == images.labels).double().mean().item()
    assert accuracy == pytest.approx(max(accuracies))


def test_a_best_epoch_before_the_backbone_trained_keeps_the_backbone_of_then(study, tmp_path):
    settings = settings_for(
        {"train": HEAD, "epochs": 8, "lr": 0.03}, {"train": ALL, "epochs": 2, "lr": 3.0}
    )
    kept, progress = train(study, tmp_path, settings)
    assert progress.best_epoch <= 8, "this test needs a second phase that does harm"
    base, _ = load_base(study / "base")
    assert all(torch.equal(base[name], kept[name]) for name in base)
    store = Store(study / "store")
    images = ImageSet(store, store.ids("valid"), load_base(study / "base")[1]["preprocessing"])
    logits = predict(make_fabric(0, 1), load_run(tmp_path)[0], images, 32)
    accuracy = (logits.argmax(1) == images.labels).double().mean().item()
    assert accuracy == pytest.approx(progress.best_score[0])


def test_early_stopping_ends_a_phase_and_not_the_schedule(study, tmp_path):
    settings = settings_for(
        {"train": HEAD, "epochs": 30, "lr": 1e-9, "early_stopping": 2}, {"train": ALL, "epochs": 1}
    )
    _, progress = train(study, tmp_path, settings)
    *heads, last = [row["train"] for row in progress.history]
    accuracies = [row["valid_accuracy"] for row in progress.history[:-1]]
    assert len(heads) < 30
    assert set(heads) == {"head"}
    assert last == "all"
    assert max(accuracies[-2:]) <= max(accuracies[:-2])


def test_a_diverging_run_names_the_rate(study, tmp_path):
    settings = settings_for({"train": ALL, "epochs": 5, "lr": 1e30, "optimizer": "sgd"})
    with pytest.raises(TrainingError, match=r"schedule\[0\].lr: the loss is no longer finite"):
        train(study, tmp_path, settings)


def test_more_blocks_than_the_base_has_names_the_run(study, tmp_path):
    with pytest.raises(ConfigError, match="'blocks: 4' but the base has 3 blocks"):
        train(study, tmp_path, settings_for({"train": {"blocks": 4}}))


def test_learning_rates_follow_warmup_cosine_and_layer_decay(study, tmp_path):
    phase = {"epochs": 4, "warmup_epochs": 1, "lr_schedule": "cosine"}
    factors = [rate_factor(phase, step, 10) for step in range(40)]
    assert factors[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert factors[10] == 1
    assert all(later < earlier for earlier, later in itertools.pairwise(factors[10:]))
    assert 0 < factors[-1] < 0.01
    assert rate_factor({**phase, "lr_schedule": "constant"}, 39, 10) == 1
    assert rate_factor({**phase, "warmup_epochs": 99}, 39, 10) == 1


def test_plateau_lowers_the_rate_when_validation_loss_stalls():
    phase = {"lr_schedule": "plateau", "plateau_patience": 1, "early_stopping": 0}
    patience = Patience()
    factors = []
    for loss in (1.0, 0.9, 0.95, 0.95, 0.8, 0.9, 0.9):
        patience.update(phase, loss, score=[0.5])
        factors.append(patience.factor)
    assert factors == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01])


def test_augmentation_depends_on_the_epoch_and_not_on_the_batch(study):
    store = Store(study / "store")
    ids = store.ids("train")
    how = load_base(study / "base")[1]["preprocessing"]
    images = ImageSet(store, ids, how, {"shift": 4, "horizontal_flip": 0.5}, seed=3)
    images.epoch = 1
    whole = torch.cat([pixels for pixels, _ in batches(images, 96)])
    parts = torch.cat([pixels for pixels, _ in batches(images, 10, workers=2)])
    assert torch.equal(whole, parts)
    images.epoch = 2
    assert not torch.equal(whole, images.__getitems__(list(range(96)))[0])


def test_the_search_chooses_by_mean_validation_accuracy():
    points = [{"lr": 0.1}, {"lr": 0.2}, {"lr": 0.3}]
    scores = [
        (0, 0.5, 1.0),
        (0, 0.7, 1.0),
        (1, 0.6, 0.9),
        (1, 0.6, 0.9),
        (2, 0.6, 1.0),
        (2, 0.6, 1.0),
    ]
    runs = [
        {"run": f"r{k}", "point": point, "seed": k % 2, "valid_accuracy": acc, "valid_loss": loss}
        for k, (point, acc, loss) in enumerate(scores)
    ]
    chosen, table = select_point(points, runs)
    assert chosen == 1
    assert table["selected"].tolist() == [False, True, False]
    assert table["valid_accuracy"].tolist() == pytest.approx([0.6, 0.6, 0.6])
    assert table["lr"].tolist() == [0.1, 0.2, 0.3]
    assert table["runs"][1] == "r2 r3"


def test_the_kept_epoch_is_the_best_of_the_history_or_its_last():
    history = pd.DataFrame(
        {"valid_accuracy": [0.5, 0.8, 0.8, 0.7], "valid_loss": [1, 0.9, 0.8, 0.1]}
    )
    assert kept_epoch(history, "best") == {"valid_accuracy": 0.8, "valid_loss": 0.8}
    assert kept_epoch(history, "last") == {"valid_accuracy": 0.7, "valid_loss": 0.1}


def test_no_scan_of_a_digit_is_drawn_in_two_splits():
    settings = {
        "canvas": 24,
        "train": 1500,
        "valid": 400,
        "test": 800,
        "clutter": 3,
        "size": [10, 18],
    }
    drawn = {
        split: set(draw(settings | {"seed": 0}, split).source_digit.tolist())
        for split in ("train", "valid", "test")
    }
    other = set(draw(settings | {"seed": 7, "train": 3000}, "train", [0, 1]).source_digit.tolist())
    assert not drawn["train"] & drawn["valid"]
    assert not (drawn["train"] | drawn["valid"]) & drawn["test"]
    assert not other & (drawn["valid"] | drawn["test"])


def test_drawn_digits_lie_in_their_boxes():
    settings = {"canvas": 32, "train": 20, "clutter": 0, "size": [10, 12], "seed": 0}
    digits = draw(settings, "train")
    again = draw(copy.deepcopy(settings), "train")
    assert np.array_equal(digits.images, again.images)
    for image, box in zip(digits.images, digits.boxes):
        left, top, right, bottom = (round(edge * 32) for edge in box)
        inside = image[top:bottom, left:right].max()
        image[top:bottom, left:right] = 0
        assert inside > 150
        assert image.max() < 60
    assert math.isclose(np.diff(digits.boxes[:, [0, 2]]).max() * 32, 12)
