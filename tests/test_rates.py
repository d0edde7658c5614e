"""Learning rates where a study gives none: they follow what trains, the images and the depth."""

import math

import pytest

from frugalvit.config.schema import validate
from frugalvit.training.rates import BLOCKS, HEADS, with_rates

BY_DEFAULT = {"lr": None, "layer_decay": None}


def rates(images=2000, layers=12, **phase):
    """`(lr, layer_decay)` of one phase."""
    settings = {"seed": 1, "schedule": [BY_DEFAULT | phase]}
    made = with_rates(settings, images, layers)
    assert made["seed"] == 1
    assert settings["schedule"] == [BY_DEFAULT | phase], "the settings of a run are not changed"
    return made["schedule"][0]["lr"], made["schedule"][0]["layer_decay"]


def test_heads_alone_learn_as_fast_on_any_number_of_images():
    for word in ("head", "heads", "exits"):
        assert rates(train=word, images=50) == rates(train=word) == (HEADS, 1.0)


@pytest.mark.parametrize("train", ["all", {"blocks": 4}])
def test_a_backbone_learns_more_slowly_from_fewer_images(train):
    assert rates(train=train)[0] == rates(train=train, images=10**6)[0] == BLOCKS
    assert rates(train=train, images=250)[0] == pytest.approx(BLOCKS / 2)


@pytest.mark.parametrize("layers", [3, 12, 24])
def test_embeddings_learn_as_much_more_slowly_at_any_depth(layers):
    decay = rates(train="all", layers=layers)[1]
    assert decay**layers == pytest.approx(0.75**12)


def test_a_rate_that_is_given_is_taken_for_all_blocks():
    assert rates(train="all", lr=0.3, images=10) == (0.3, 1.0)
    assert rates(train="all", lr=0.3, layer_decay=0.9) == (0.3, 0.9)
    lr, decay = rates(train="all", layer_decay=0.9, images=250)
    assert (decay, math.isclose(lr, BLOCKS / 2)) == (0.9, True)


def test_warm_up_and_clipping_are_on_unless_they_are_switched_off():
    training = validate({}, "training")
    assert training["warmup_epochs"] > 0
    assert training["clip_norm"] > 0
    assert (training["lr"], training["layer_decay"]) == (None, None)
    off = validate({"warmup_epochs": 0, "clip_norm": 0}, "training")
    assert (off["warmup_epochs"], off["clip_norm"]) == (0, 0)
