"""The backbone's observers against torchvision's own forward pass."""

import copy

import pytest
import torch
from torch import nn
from torchvision.models import VisionTransformer, vit_b_16

from frugalvit.errors import ConfigError
from frugalvit.models.architectures import named_architecture
from frugalvit.models.backbone import (
    architecture_of,
    block_outputs,
    build,
    class_token,
    forward_intermediates,
    logits_from_class_token,
    own_parts,
    parameter_part,
    part_counts,
)
from frugalvit.training.freezing import apply_freeze

SMALL = {
    "image_size": 16,
    "patch_size": 4,
    "num_layers": 3,
    "num_heads": 2,
    "hidden_dim": 16,
    "mlp_dim": 24,
}


def small_model(num_classes=5, **changes):
    torch.manual_seed(0)
    model = build({**SMALL, **changes}, num_classes).eval()
    if num_classes:
        torch.nn.init.normal_(model.heads.head.weight)  # zeros would hide every difference
    return model


@pytest.fixture
def images():
    return torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def test_build_is_torchvisions_class_with_the_same_weights_for_a_seed():
    one, two = small_model(), small_model()
    assert type(one) is VisionTransformer
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters()))
    torch.manual_seed(0)
    own = VisionTransformer(**SMALL, num_classes=5)
    assert torch.equal(own.encoder.pos_embedding, one.encoder.pos_embedding)
    assert torch.equal(own.conv_proj.weight, one.conv_proj.weight)


def gradients(model, images, labels):
    """Logits, and the gradient of each parameter that has one, by name."""
    logits = model(images)
    nn.functional.cross_entropy(logits, labels).backward()
    return logits, {name: part.grad for name, part in model.named_parameters()}


@pytest.mark.parametrize("train", ["all", {"blocks": 1}, "head"])
@pytest.mark.parametrize("attention_dropout", [0.0, 0.4])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("dtype", "near"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_logits_and_gradients_are_torchvisions(
    images, dtype, near, training, attention_dropout, train
):
    ours = small_model().to(dtype).train(training)
    for name, parameter in ours.named_parameters():
        if parameter.ndim == 1:  # biases of zero would hide that one is left out
            nn.init.normal_(parameter, mean=float("ln" in name and "weight" in name))
    own = VisionTransformer(**SMALL, num_classes=5).to(dtype).train(training)
    own.load_state_dict(ours.state_dict())
    found = []
    for model in (ours, own, copy.deepcopy(ours)):
        for block in model.encoder.layers:
            block.self_attention.dropout = attention_dropout
        apply_freeze(model, train)
        torch.manual_seed(2)
        found.append(gradients(model, images.to(dtype), torch.tensor([0, 1, 2, 3])))
    (logits, grads), (expected, expected_grads), (copied, _) = found
    assert torch.equal(copied, logits)
    torch.testing.assert_close(logits, expected, atol=near, rtol=near)
    torch.testing.assert_close(grads, expected_grads, atol=near, rtol=near)
    if training and attention_dropout and train == "all":
        torch.manual_seed(3)
        assert (ours(images.to(dtype)) - logits).abs().max() > 1e-2


def test_no_block_takes_the_slower_attention_of_torch(images, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("nn.MultiheadAttention was called")

    monkeypatch.setattr(nn.MultiheadAttention, "forward", refuse)
    model = small_model()
    with pytest.raises(AssertionError, match="was called"):
        VisionTransformer(**SMALL)(images)
    for cut in (model, copy.deepcopy(model)):
        cut.encoder.layers = cut.encoder.layers[:2]
        cut.train()(images).sum().backward()
        with torch.inference_mode():
            cut.eval()(images)


def test_half_precision_is_near_torchvisions(images):
    ours, own = small_model(), VisionTransformer(**SMALL, num_classes=5).eval()
    own.load_state_dict(ours.state_dict())
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert ours(images).dtype == own(images).dtype == torch.bfloat16
        torch.testing.assert_close(ours(images), own(images), atol=0.1, rtol=0.05)


def test_names_are_torchvisions():
    with torch.device("meta"):
        own, ours = vit_b_16(), build(named_architecture("vit_b_16"), 1000)
    shapes = [[(name, part.shape) for name, part in m.state_dict().items()] for m in (own, ours)]
    assert shapes[0] == shapes[1]


def test_a_fresh_head_is_undecided(images):
    assert torch.equal(build(SMALL, 5)(images), torch.zeros(4, 5))


@torch.no_grad()
def test_intermediates_end_in_the_models_own_logits(images):
    model = small_model()
    class_tokens, patch_means = forward_intermediates(model, images)
    assert class_tokens.shape == patch_means.shape == (4, 3, 16)
    logits = logits_from_class_token(model, class_tokens[:, -1])
    torch.testing.assert_close(logits, model(images), atol=1e-6, rtol=0)


@torch.no_grad()
def test_intermediates_are_what_hooks_on_every_block_see(images):
    model, seen = small_model(), []
    hooks = [
        block.register_forward_hook(lambda _, __, output: seen.append(output))
        for block in model.encoder.layers
    ]
    model(images)
    for hook in hooks:
        hook.remove()
    class_tokens, patch_means = forward_intermediates(model, images)
    for k, tokens in enumerate(seen):
        assert torch.equal(class_tokens[:, k], tokens[:, 0])
        torch.testing.assert_close(patch_means[:, k], tokens[:, 1:].mean(dim=1))


def test_gradients_flow_through_the_intermediates(images):
    model = small_model().train()
    forward_intermediates(model, images)[0].sum().backward()
    assert model.conv_proj.weight.grad.abs().sum() > 0
    assert model.encoder.ln.weight.grad is None  # raw outputs: the final norm takes no part


@torch.no_grad()
def test_whoever_stops_early_saves_the_later_blocks(images):
    model, calls = small_model(), []
    for block in model.encoder.layers:
        block.register_forward_hook(lambda *_: calls.append(1))
    next(block_outputs(model, images))
    assert len(calls) == 1


@torch.no_grad()
def test_class_token_is_what_the_head_reads(images):
    model, headless = small_model(), small_model(num_classes=0)
    headless.load_state_dict(model.state_dict(), strict=False)
    torch.testing.assert_close(model.heads(class_token(model, images)), model(images))
    torch.testing.assert_close(headless(images), class_token(model, images))
    assert not any(name.startswith("heads") for name in headless.state_dict())


def test_named_architectures_are_torchvisions():
    with torch.device("meta"):
        assert architecture_of(vit_b_16()) == {
            **named_architecture("vit_b_16"),
            "num_classes": 1000,
            "eps": 1e-6,
        }
    with pytest.raises(ConfigError, match=r"'vit_c_3': choose from vit_tiny, vit_small"):
        named_architecture("vit_c_3")


def test_eps_reaches_every_norm():
    model = small_model(eps=1e-12)
    norms = [m for m in model.modules() if isinstance(m, torch.nn.LayerNorm)]
    assert {norm.eps for norm in norms} == {1e-12}
    assert architecture_of(model)["eps"] == 1e-12


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": 18}, "18 px is not a multiple of the patch size 4: take 16"),
        ({"num_heads": 3}, "num_heads: 3 does not divide hidden_dim 16"),
        ({"num_layers": 0}, "num_layers: 0 is not a positive integer"),
        ({"mlp_dim": "24"}, "mlp_dim: '24' is not a positive integer"),
    ],
)
def test_impossible_architectures_are_one_line(change, message):
    with pytest.raises(ConfigError, match=message):
        build({**SMALL, **change}, 5)


def test_every_parameter_belongs_to_a_part():
    model = small_model()
    parts = {parameter_part(name) for name in model.state_dict()}
    blocks = {f"block {k}" for k in (1, 2, 3)}
    assert parts == {"patch_embedding", "positions", "norm", "head", *blocks}
    assert parameter_part("encoder.layers.encoder_layer_11.mlp.0.weight") == "block 12"
    assert parameter_part("exits.3.classifier.weight") == "exits"
    assert parameter_part("backbone.heads.head.weight") == "head"
    for foreign in ("backbone.gates.0.weight", "encoder.gate", "gamma"):
        with pytest.raises(ValueError, match=foreign):
            parameter_part(foreign)


def test_a_model_around_a_backbone_has_parts_of_its_own():
    class Around(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gates = torch.nn.Linear(2, 2)
            self.backbone = small_model()

    assert own_parts(Around()) == ["gates"]
    assert own_parts(small_model()) == []


def test_part_counts_add_up():
    model = small_model()
    counts = part_counts(model)
    total = counts.pop("total")
    assert total == sum(counts.values()) == sum(p.numel() for p in model.parameters())
    assert counts["head"] == 5 * 17
    assert counts["positions"] == 17 * 16 + 16
    assert part_counts(small_model(num_classes=0))["head"] == 0


@pytest.mark.parametrize(
    ("shape", "embedding", "parameters"),
    [
        ((4, 16, 256, 512), 128, 2_185_610),
        ((8, 8, 256, 1024), 128, 6_395_274),
        ((8, 16, 256, 512), 784, 4_469_178),
        ((8, 12, 768, 512), 128, 25_453_962),
    ],
)
def test_counts_of_the_fashion_mnist_matrix(shape, embedding, parameters):
    """Parameter counts printed by source system D: ViT to an embedding, then Linear to 10."""
    layers, heads, hidden, mlp = shape
    architecture = dict(zip(SMALL, (28, 7, layers, heads, hidden, mlp)))
    with torch.device("meta"):
        total = part_counts(build(architecture, embedding))["total"]
    assert total + embedding * 10 + 10 == parameters
