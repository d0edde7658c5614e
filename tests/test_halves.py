"""A model in two halves: the second answers on what the first left as the whole model does."""

import pytest
import torch

from frugalvit.methods.avit.model import AViT
from frugalvit.methods.early_exit.model import EarlyExits
from frugalvit.methods.localize.model import Localizer
from frugalvit.models.backbone import build
from frugalvit.models.heads import Adapted, first_half, second_half
from frugalvit.training.prefix import blocks_cached

ARCHITECTURE = {
    "image_size": 24, "patch_size": 4, "num_layers": 4, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32,
}  # fmt: skip
HOW = {"hidden_dim": 8, "dropout": 0.0, "sigmoid": True}
HEAD = {"kind": "mlp", "shallow": "conv", "shallow_blocks": 1, "hidden_dim": 8}


def plain():
    model = build(ARCHITECTURE, 3)
    torch.nn.init.normal_(model.heads.head.weight, std=0.2)
    return model


MODELS = {
    "plain": plain,
    "pooled boxes": lambda: Localizer(plain(), {"tokens": "class_mean", **HOW}),
    "boxes": lambda: Localizer(plain(), {"tokens": "grid", **HOW}),
    "exits": lambda: EarlyExits(plain(), [1, 2, 3, 4], HEAD),
    "late exits": lambda: EarlyExits(plain(), [3, 4], HEAD),
    "halting": lambda: AViT(plain(), gamma=2.0, beta=-1.0),
}


def parts_of(outputs):
    return [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)


@pytest.mark.parametrize("blocks", [1, 2, 3])
@pytest.mark.parametrize("name", MODELS)
def test_both_halves_answer_as_the_whole_model(name, blocks):
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    images = torch.randn(6, 3, 24, 24)
    with torch.inference_mode():
        whole = parts_of(model(images))
        state = first_half(model, blocks)(images)
        halves = parts_of(second_half(model, blocks)(state))
    for one, other in zip(whole, halves, strict=True):
        if one.is_floating_point():
            torch.testing.assert_close(other, one, atol=1e-3, rtol=1e-3)
        else:
            assert torch.equal(one, other)
    if name == "halting":
        assert len(whole[-1].unique()) > 1  # tokens left at several blocks


@pytest.mark.parametrize("name", MODELS)
def test_the_second_half_gets_the_gradients_of_the_whole_model_and_holds_nothing_else(name):
    torch.manual_seed(0)
    model = MODELS[name]().double()
    images = torch.randn(6, 3, 24, 24, dtype=torch.float64)
    half = second_half(model, 2)
    own = {id(parameter) for parameter in half.parameters()}
    for number, block in enumerate(model_blocks(model), start=1):
        held = {id(parameter) in own for parameter in block.parameters()}
        assert held == {number > 2}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in own)
    gradients = []
    for forward in (model, lambda given: half(first_half(model, 2)(given))):
        model.zero_grad()
        total = sum(part.pow(2).sum() for part in parts_of(forward(images)) if part.requires_grad)
        total.backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, rtol=0.02, atol=0.01 * one.abs().max().item() + 1e-9)


def model_blocks(model):
    return getattr(model, "backbone", model).encoder.layers


def test_a_model_that_does_not_say_how_it_goes_on_is_computed_whole():
    class Scaled(Adapted):
        def __init__(self):
            super().__init__()
            self.backbone = plain()

        def forward(self, images):
            return 2 * self.backbone(images)

    settings, phase = {"cache_tokens": True, "views": 0}, {"augment": {}, "epochs": 5}
    assert blocks_cached(Scaled(), settings, phase | {"train": {"blocks": 2}}) == 0
    assert blocks_cached(plain(), settings, phase | {"train": {"blocks": 2}}) == 2


@pytest.mark.parametrize(
    ("changed", "cached"),
    [
        ({}, 1),
        ({"augment": {"horizontal_flip": 0.5}}, 0),
        ({"augment": {"horizontal_flip": 0.5}, "views": 4}, 1),
        ({"augment": {"horizontal_flip": 0.5}, "views": 5}, 0),
        ({"views": 8}, 1),  # without augmentation there is one view
        ({"epochs": 1}, 0),
        ({"cache_tokens": False}, 0),
        ({"train": "all"}, 0),
        ({"train": "head"}, 0),
        ({"train": {"blocks": 4}}, 0),
        ({"train": {"blocks": 1}}, 3),
    ],
)
def test_tokens_are_cached_where_they_are_looked_at_again(changed, cached):
    phase = {"train": {"blocks": 3}, "epochs": 5, "augment": {}}
    settings = {"cache_tokens": True, "views": 0}
    settings |= {key: changed[key] for key in settings.keys() & changed.keys()}
    phase |= {key: changed[key] for key in phase.keys() & changed.keys()}
    assert blocks_cached(build(ARCHITECTURE, 3), settings, phase) == cached
