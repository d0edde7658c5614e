"""Classes of unlike size: weights of the loss, and how often images are drawn, for every method."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.utils.class_weight import compute_class_weight

from frugalvit.data.batches import batch_order
from frugalvit.data.store import Store
from frugalvit.methods.fine_tune.objective import Objectives
from frugalvit.training.balance import class_weights, cross_entropy, drawn_weights, weighted_mean
from tests.small_study import SGD, weights_bytes
from tests.test_exits import settings_for as exits_settings
from tests.test_halting_training import settings_for as halting_settings
from tests.test_halting_training import train
from tests.test_training import settings_for as plain_settings

UNLIKE = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)


def test_weights_are_scikit_learns_and_1_on_average():
    weights = class_weights(UNLIKE, 3)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=UNLIKE.numpy())
    assert weights == pytest.approx(expected.tolist(), abs=1e-5)
    assert torch.tensor(weights)[UNLIKE].mean().item() == pytest.approx(1, abs=1e-5)
    assert class_weights(UNLIKE, 4)[3] == 0  # nothing to weigh
    assert class_weights(torch.arange(5).repeat(4), 5) == [1.0] * 5


def test_a_weight_of_two_is_an_image_that_comes_twice():
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, 2, 1, 0])
    weighted = cross_entropy(logits, labels, 0.1, [1.0, 2.0, 1.0])
    twice = torch.tensor([0, 1, 1, 2, 3, 4, 4, 5])
    alike = F.cross_entropy(logits[twice], labels[twice], label_smoothing=0.1, reduction="sum") / 6
    torch.testing.assert_close(weighted, alike)
    assert cross_entropy(logits, labels, 0.1, [1.0] * 3) == pytest.approx(
        F.cross_entropy(logits, labels, label_smoothing=0.1).item()
    )
    shares = F.one_hot(labels, 3).float()
    torch.testing.assert_close(cross_entropy(logits, shares, 0.0, [1.0, 2.0, 3.0]),
                               cross_entropy(logits, labels, 0.0, [1.0, 2.0, 3.0]))  # fmt: skip
    each = torch.tensor([1.0, 3.0])
    assert weighted_mean(each, torch.tensor([0, 1]), [2.0, 0.5]).item() == pytest.approx(1.75)


@pytest.mark.parametrize("shape", ["labels", "targets", "targets of views"])
def test_drawn_images_are_of_each_class_as_often(shape):
    labels = UNLIKE
    if shape != "labels":
        labels = torch.cat([UNLIKE[:, None].float(), torch.rand(100, 4)], dim=1)
    if shape == "targets of views":
        labels = labels[:, None].expand(-1, 3, -1)
    order = [
        position
        for seed in range(40)
        for chunk in batch_order(100, 32, seed, weights=drawn_weights(labels))
        for position in chunk
    ]
    counts = UNLIKE[order].bincount()
    assert counts.sum() == 4000
    assert counts.float().sub(4000 / 3).abs().max() < 4 * (4000 * 2 / 9) ** 0.5
    assert batch_order(100, 32, 5, weights=drawn_weights(labels)) == batch_order(
        100, 32, 5, weights=drawn_weights(labels)
    )


SETTINGS = {
    "plain": lambda **how: plain_settings({"train": "head"}, {"train": "all"}, **how),
    "exits": lambda **how: exits_settings({"train": "exits"}, {"train": "all"}, **how),
    "halting": lambda **how: halting_settings(
        {"train": "head", "epochs": 1}, {"train": "all", "epochs": 1}, **how
    ),
}


@pytest.mark.parametrize("method", SETTINGS)
def test_every_method_balances_and_says_so_in_its_card(study, tmp_path, method):
    settings = {how: SETTINGS[method](balance=how, **SGD) for how in ("none", "loss", "sampler")}
    for how, own in settings.items():
        train(study, tmp_path / how, own)
    made = {how: weights_bytes(tmp_path / how) for how in settings}
    assert len(set(made.values())) == 3
    card = (tmp_path / "loss" / "card.json").read_text()
    store = Store(study / "store")
    labels = store.index.loc[store.index["split"] == "train", "label"]
    weights = class_weights(torch.tensor(labels.tolist()), 10)
    assert weights != [1.0] * 10, "digits are drawn at random: not as many of each"
    assert '"class_weights"' in card and f"{weights[0]}" in card
    train(study, tmp_path / "again", settings["sampler"])
    assert weights_bytes(tmp_path / "again") == made["sampler"]


def test_validation_is_of_all_images_alike():
    objectives = Objectives(None, {}, None)
    phase = {"label_smoothing": 0.0, "class_weights": [0.0, 9.0, 0.0]}
    logits, labels = torch.randn(4, 3), torch.tensor([0, 0, 1, 2])
    trained = objectives.training(phase, [], None).losses(logits, labels, logits)["loss"]
    told = objectives.validation(phase, []).losses(logits, labels, logits)["loss"]
    assert told == pytest.approx(F.cross_entropy(logits, labels).item())
    assert trained == pytest.approx(9 / 4 * F.cross_entropy(logits[2:3], labels[2:3]).item())
