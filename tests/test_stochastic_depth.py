"""Stochastic depth: dropped per image while training, nowhere else, under unchanged names."""

import pytest
import torch
from torch import nn
from torchvision.ops import StochasticDepth

from frugalvit.errors import ConfigError
from frugalvit.models.attention import attend
from frugalvit.models.backbone import architecture_of, build
from frugalvit.models.stochastic_depth import add_stochastic_depth
from frugalvit.training.freezing import apply_freeze, set_modes

ARCHITECTURE = {
    "image_size": 16, "patch_size": 4, "num_layers": 4, "num_heads": 2, "hidden_dim": 16,
    "mlp_dim": 24,
}  # fmt: skip
CLASSES, BATCH = 5, 4000


def model(rate: float | None = None, dropout: float = 0.0, **changes: int) -> nn.Module:
    torch.manual_seed(0)
    built = build(ARCHITECTURE | changes, CLASSES, dropout=dropout)
    nn.init.normal_(built.heads.head.weight)
    if rate is not None:
        add_stochastic_depth(built, rate)
    return built


def rates(vit: nn.Module) -> list[list[float]]:
    """The rates in each block."""
    return [
        [part.p for part in block.modules() if isinstance(part, StochasticDepth)]
        for block in vit.encoder.layers
    ]


@pytest.fixture
def tokens() -> torch.Tensor:
    """The same tokens for every image, so that images differ only by what they drop."""
    torch.manual_seed(1)
    return torch.randn(1, 3, 16).expand(BATCH, -1, -1)


def outcomes(block: nn.Module, tokens: torch.Tensor, rate: float) -> dict[str, torch.Tensor]:
    """A block's output for one image, by which branches it keeps."""
    block.eval()
    with torch.no_grad():
        one = tokens[:1]
        branch = attend(block.self_attention, block.ln_1(one)) / (1 - rate)
        found = {}
        for name, middle in (("", one), ("attention", one + branch)):
            found[name] = middle
            found[f"{name} mlp"] = middle + block.mlp(block.ln_2(middle)) / (1 - rate)
    block.train()
    return found


def spread(output: torch.Tensor) -> float:
    """How much images differ from the first; equal ones do by rounding, which a row's place decides."""
    return (output - output[:1]).abs().max().item()


@pytest.mark.parametrize("masked", [False, True])
def test_each_image_drops_either_branch_on_its_own(tokens, masked):
    block = model(0.4).encoder.layers[-1].train()
    possible = torch.cat(list(outcomes(block, tokens, 0.4).values()))
    torch.manual_seed(2)
    with torch.no_grad():
        keys = torch.ones(tokens.shape[:2], dtype=torch.bool) if masked else None
        output = block(tokens, keys)
    distances = (output[:, None] - possible).abs().amax(dim=(2, 3))
    nearest, which = distances.min(dim=1)
    assert nearest.max() < 1e-5
    shares = which.bincount(minlength=4) / BATCH
    expected = torch.tensor([0.4 * 0.4, 0.4 * 0.6, 0.6 * 0.4, 0.6 * 0.6])
    torch.testing.assert_close(shares, expected, rtol=0, atol=0.04)


def test_the_rate_rises_linearly():
    for block, rate in zip(rates(model(0.3)), [0, 0.1, 0.2, 0.3], strict=True):
        assert block == pytest.approx([rate, rate])
    assert rates(model(0.3, num_layers=1)) == [[0, 0]]


def test_the_first_block_drops_nothing(tokens):
    block = model(0.9).encoder.layers[0]
    with torch.no_grad():
        torch.testing.assert_close(block.train()(tokens[:50]), block.eval()(tokens[:50]))


def test_in_evaluation_it_is_the_identity():
    images = torch.randn(3, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(model(0.9).eval()(images), model().eval()(images))


def test_names_and_architecture_stay():
    plain, dropping = model(), model(0.3)
    assert list(dropping.state_dict()) == list(plain.state_dict())
    assert [name for name, _ in dropping.named_parameters()] == [
        name for name, _ in plain.named_parameters()
    ]
    assert architecture_of(dropping) == architecture_of(plain)
    dropping.load_state_dict(plain.state_dict())


def test_a_second_call_sets_the_rate_anew():
    vit = model(0.3)
    add_stochastic_depth(vit, 0.6)
    for block, rate in zip(rates(vit), [0, 0.2, 0.4, 0.6], strict=True):
        assert block == pytest.approx([rate, rate])


def test_dropout_goes_on():
    vit = model(0.3, dropout=0.25)
    for block in vit.encoder.layers:
        dropouts = [part.p for part in block.modules() if isinstance(part, nn.Dropout)]
        assert dropouts == [0.25] * 3


def test_frozen_blocks_drop_nothing(tokens):
    vit = model(0.5)
    apply_freeze(vit, {"blocks": 2})
    set_modes(vit)
    frozen, trained = vit.encoder.layers[1], vit.encoder.layers[2]
    with torch.no_grad():
        assert spread(frozen(tokens[:50])) < 1e-5
        assert spread(trained(tokens[:50])) > 1e-2
        apply_freeze(vit, "all")
        set_modes(vit)
        assert spread(frozen(tokens[:50])) > 1e-2


@pytest.mark.parametrize("rate", [-0.1, 1, 1.5])
def test_no_rate(rate):
    with pytest.raises(ConfigError, match="no rate to drop a branch"):
        add_stochastic_depth(model(), rate)
