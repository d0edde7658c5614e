"""Networks from a configuration: the source's parameter counts, their outputs, their FLOPs."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import VisionTransformer, resnet18

from frugalvit.errors import ConfigError
from frugalvit.models.networks.build_network import build_network
from frugalvit.models.networks.network_shape import network_gflops

COMMON = {"image_size": 28, "channels": 3, "num_classes": 10, "embedding": 128}


def vit(layers, heads, dim, mlp, embedding=128, patch=7, **changes):
    own = {"num_layers": layers, "num_heads": heads, "hidden_dim": dim, "mlp_dim": mlp}
    plain = {"kind": "vit", "patch_size": patch, "stem": None, "pooling": "class"}
    return {**COMMON, **plain, **own, "embedding": embedding, **changes}


RESNET = {**COMMON, "kind": "resnet18", "small_stem": False}
ENCODER = {**COMMON, "kind": "conv_encoder", "channels": 1, "widths": [32, 32, 32]}
# Of the experiment matrix on FashionMNIST, one row each.
PARAMETERS = [
    (RESNET, 11_243_466),
    (vit(4, 16, 256, 512), 2_185_610),
    (vit(4, 8, 256, 512), 2_185_610),
    (vit(4, 32, 256, 512), 2_185_610),
    (vit(8, 8, 256, 512), 4_294_026),
    (vit(8, 16, 256, 512), 4_294_026),
    (vit(8, 16, 256, 512, 784), 4_469_178),
    (vit(8, 8, 256, 1024), 6_395_274),
    (vit(4, 4, 256, 512), 2_185_610),
    (vit(16, 8, 256, 512), 8_510_858),
    (ENCODER, 2_002_698),
    (vit(8, 12, 768, 512), 25_453_962),
]


@pytest.mark.parametrize(("shape", "expected"), PARAMETERS)
def test_networks_have_the_sources_number_of_parameters(shape, expected):
    with torch.device("meta"):
        network = build_network(shape)
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


SMALL = {"layers": 2, "heads": 2, "dim": 16, "mlp": 24, "patch": 4}
OTHERS = {
    "plain": vit(**SMALL),
    "without embedding": vit(**SMALL, embedding=0),
    "grey": vit(**SMALL, channels=1),
    "stem": vit(**SMALL, stem=[6, 8]),
    "stem of more convolutions, grey": vit(**SMALL, stem=[4, 6, 8], channels=1),
    "sequence pooling": vit(**SMALL, pooling="sequence"),
    "resnet": RESNET,
    "resnet, small stem": {**RESNET, "small_stem": True},
    "resnet, odd sides": {**RESNET, "image_size": 37, "embedding": 0},
    "encoder": ENCODER,
    "encoder, colour": {**ENCODER, "channels": 3, "widths": [4, 6]},
}


@pytest.mark.parametrize("shape", OTHERS.values(), ids=OTHERS)
def test_flops_are_those_of_an_independent_counter(shape):
    with torch.device("meta"):
        network = build_network(shape).eval()
        images = torch.empty(1, 3, shape["image_size"], shape["image_size"])
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        assert network(images).shape == (1, 10)
    assert network.gflops == network_gflops(shape) == counter.get_total_flops() / 1e9


@pytest.mark.parametrize("shape", OTHERS.values(), ids=OTHERS)
def test_every_parameter_learns_and_a_seed_decides_all(shape):
    torch.manual_seed(0)
    network = build_network(shape)
    images = torch.rand(4, 3, shape["image_size"], shape["image_size"])
    network(images).square().sum().backward()
    still = [name for name, one in network.named_parameters() if not one.grad.any()]
    # A key's bias shifts all scores alike, as does the last one of a softmax over tokens.
    assert set(still) <= {"pooling.bias"}
    torch.manual_seed(0)
    twin = build_network(shape)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), twin.parameters()))


def test_a_vit_computes_what_torchvisions_does():
    torch.manual_seed(0)
    network = build_network(OTHERS["plain"]).eval()
    theirs = VisionTransformer(28, 4, 2, 2, 16, 24, num_classes=128).eval()
    state = {name.removeprefix("backbone."): own for name, own in network.state_dict().items()}
    state["heads.head.weight"] = state.pop("embedding.weight")
    state["heads.head.bias"] = state.pop("embedding.bias")
    state.pop("classifier.weight"), state.pop("classifier.bias")
    theirs.load_state_dict(state)
    images = torch.randn(3, 3, 28, 28)
    assert torch.allclose(network.embed(images), theirs(images), atol=1e-5)


def test_a_resnet_computes_what_torchvisions_does():
    torch.manual_seed(0)
    network = build_network({**RESNET, "embedding": 0}).eval()
    theirs = resnet18(num_classes=10).eval()
    theirs.load_state_dict(
        {
            name.replace("body.", "").replace("classifier", "fc"): own
            for name, own in network.state_dict().items()
        }
    )
    images = torch.randn(2, 3, 28, 28)
    assert torch.allclose(network(images), theirs(images), atol=1e-5)


def test_sequence_pooling_weighs_tokens_by_their_scores():
    """Equal scores give the mean; the order of tokens is known by their positions alone."""
    torch.manual_seed(0)
    network = build_network(OTHERS["sequence pooling"]).eval()
    assert network.backbone.encoder.pos_embedding.shape == (1, 49, 16)
    torch.nn.init.zeros_(network.pooling.weight)
    images = torch.randn(2, 3, 28, 28)
    backbone = network.backbone
    tokens = backbone._process_input(images) + backbone.encoder.pos_embedding
    mean = backbone.encoder.ln(backbone.encoder.layers(tokens)).mean(dim=1)
    assert torch.allclose(network.features(images), mean, atol=1e-5)


def test_one_channel_is_any_of_a_grey_images_three():
    network = build_network(OTHERS["grey"]).eval()
    grey = torch.rand(2, 1, 28, 28)
    assert torch.allclose(network.read(grey.expand(-1, 3, -1, -1)), grey)
    assert network.backbone.conv_proj.in_channels == 1


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        (vit(2, 2, 16, 24, patch=5), "patch_size: 28 px is no multiple of 5; use a divisor of 28"),
        (vit(2, 3, 16, 24), "num_heads: 3 does not divide hidden_dim 16"),
        (vit(2, 2, 16, 24, stem=[8]), "stem: 1 convolutions make no patches of 7 px"),
        (vit(2, 2, 16, 24, patch=4, stem=[8]), "stem: 1 convolutions make no patches of 4 px"),
        (vit(2, None, 16, 24), "num_heads: missing; kind vit needs it"),
        ({**RESNET, "channels": 1}, "channels: resnet18 reads 3"),
        ({**ENCODER, "widths": [4] * 14}, "widths: 14 convolutions without padding leave nothing"),
    ],
)
def test_networks_that_cannot_be_are_refused(shape, says):
    with pytest.raises(ConfigError, match=says):
        build_network(shape)


def test_dropout_is_a_vits():
    with pytest.raises(ConfigError, match="kind: resnet18 has no dropout; set dropout: 0"):
        build_network(RESNET, dropout=0.1)
    assert build_network(OTHERS["plain"], dropout=0.1).backbone.encoder.dropout.p == 0.1
