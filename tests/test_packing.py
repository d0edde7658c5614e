"""Packed inference: what the masked model answers, and only the work of live tokens."""

import pytest
import torch
from torch import Tensor, nn

from frugalvit.methods.avit.model import AViT, tokens_per_block
from frugalvit.methods.avit.packing import Packed
from frugalvit.models.backbone import build

ARCHITECTURE = {
    "image_size": 16, "patch_size": 4, "num_layers": 6, "num_heads": 2, "hidden_dim": 16,
    "mlp_dim": 24,
}  # fmt: skip
CLASSES, BATCH, TOKENS, LAYERS = 5, 12, 17, 6


class Scripted(AViT):
    """Its tokens halt after the blocks that `depths` `[batch, tokens]` says."""

    def __init__(self, backbone: nn.Module, depths: Tensor):
        super().__init__(backbone, 1.0, 0.0)
        self.depths = depths
        self.capped = depths.minimum(depths[:, :1])  # an answered image computes nothing

    def scores(self, tokens: Tensor, block: int) -> Tensor:
        """0 before a token's depth, 1 from there on; live tokens alone or all."""
        depths = self.depths if tokens.ndim == 3 else self.capped[self.capped >= block]
        return (depths <= block).float().to(tokens.device)


@pytest.fixture(scope="module")
def backbone() -> nn.Module:
    """Random weights whose first channel differs much between tokens, images and blocks."""
    torch.manual_seed(0)
    backbone = build(ARCHITECTURE, CLASSES)
    nn.init.normal_(backbone.heads.head.weight)
    with torch.no_grad():
        nn.init.normal_(backbone.class_token)
        backbone.conv_proj.weight *= 5
        backbone.encoder.pos_embedding[..., 0] += torch.randn(TOKENS)
        for block in backbone.encoder.layers:
            for layer in (block.self_attention.out_proj, block.mlp[3]):
                nn.init.normal_(layer.weight, std=0.5)
                nn.init.normal_(layer.bias, std=0.5)
    return backbone.eval()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(BATCH, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def check_agrees(model: AViT, images: Tensor, groups: int | None = None, tolerance=1e-5) -> Tensor:
    """Packed and masked say the same; returns the depths."""
    with torch.no_grad():
        masked = model(images)
    logits, depths = Packed(model, groups)(images)
    assert depths.dtype == torch.int64
    assert torch.equal(depths, masked.depths)
    assert logits.dtype == masked.logits.dtype
    assert masked.logits.abs().max() > 0.1
    torch.testing.assert_close(logits, masked.logits, rtol=tolerance, atol=tolerance)
    return depths


def tokens_computed(model: AViT, images: Tensor) -> list[int]:
    """Tokens that each block's MLP read, all images together; blocks that never ran are missing."""
    read: list[int] = []
    hooks = [
        block.mlp.register_forward_pre_hook(
            lambda _, inputs: read.append(inputs[0].shape[:-1].numel())
        )
        for block in model.backbone.encoder.layers
    ]
    Packed(model)(images)
    for hook in hooks:
        hook.remove()
    return read


def random_depths(seed: int) -> Tensor:
    """Depths that differ between images, and between the tokens of each."""
    generator = torch.Generator().manual_seed(seed)
    middle = torch.rand(BATCH, 1, generator=generator) * LAYERS
    spread = torch.randn(BATCH, TOKENS, generator=generator) * 1.5
    return (middle + spread).round().clamp(1, LAYERS).long()


@pytest.mark.parametrize("groups", [None, 1, 3, 100])
@pytest.mark.parametrize(("gamma", "beta"), [(1.0, -2.0), (1.0, 0.0), (0.5, -1.0), (5.0, -10.0)])
def test_agrees_with_the_masked_model(backbone, images, gamma, beta, groups):
    depths = check_agrees(AViT(backbone, gamma, beta), images, groups)
    per_block = tokens_per_block(depths, LAYERS)
    assert len(depths.unique()) >= 4
    assert max(len(counts.unique()) for counts in per_block.T) >= 4  # images differ in length


@pytest.mark.parametrize("groups", [None, 4])
def test_agrees_whatever_halts_when(backbone, images, groups):
    for seed in range(15):
        depths = random_depths(seed)
        found = check_agrees(Scripted(backbone, depths), images, groups)
        assert torch.equal(found, depths.minimum(depths[:, :1]))


def test_an_image_is_answered_as_if_it_were_alone(backbone, images):
    model = AViT(backbone, 1.0, -1.0)
    logits, depths = Packed(model)(images)
    for image, its_logits, its_depths in zip(images, logits, depths, strict=True):
        check_agrees(model, image[None])
        alone_logits, alone_depths = Packed(model)(image[None])
        torch.testing.assert_close(alone_logits[0], its_logits, rtol=1e-5, atol=1e-5)
        assert torch.equal(alone_depths[0], its_depths)


def test_no_images_at_all(backbone, images):
    logits, depths = Packed(AViT(backbone, 1.0, 0.0))(images[:0])
    assert logits.shape == (0, CLASSES)
    assert depths.shape == (0, TOKENS)
    assert depths.dtype == torch.int64


def test_all_tokens_halt_after_the_first_block(backbone, images):
    model = AViT(backbone, 1.0, 100.0)
    assert (check_agrees(model, images) == 1).all()
    assert tokens_computed(model, images) == [BATCH * TOKENS]


@pytest.mark.parametrize(("beta", "halts"), [(-100.0, True), (100.0, False)])
def test_where_no_token_halts_it_is_the_plain_model(backbone, images, beta, halts):
    model = AViT(backbone, 1.0, beta, halts=halts)
    assert (check_agrees(model, images) == LAYERS).all()
    with torch.no_grad():
        plain = backbone(images)
    torch.testing.assert_close(Packed(model)(images)[0], plain, rtol=1e-5, atol=1e-5)
    assert tokens_computed(model, images) == [BATCH * TOKENS] * LAYERS


def test_the_class_token_halts_last(backbone, images):
    depths = torch.ones(BATCH, TOKENS, dtype=torch.int64)
    depths[:, 0] = LAYERS
    model = Scripted(backbone, depths)
    check_agrees(model, images)
    assert tokens_computed(model, images) == [BATCH * TOKENS] + [BATCH] * (LAYERS - 1)


def test_an_image_whose_class_token_has_halted_leaves(backbone, images):
    depths = torch.full((BATCH, TOKENS), LAYERS)
    depths[3:, 0] = 2
    depths[0, 0] = 4
    depths[0, 1:6] = 1
    model = Scripted(backbone, depths)
    check_agrees(model, images)
    all_but_five = BATCH * TOKENS - 5
    assert tokens_computed(model, images) == [
        BATCH * TOKENS, all_but_five, 3 * TOKENS - 5, 3 * TOKENS - 5, 2 * TOKENS, 2 * TOKENS,
    ]  # fmt: skip


def test_blocks_compute_what_the_depths_say(backbone, images):
    model = AViT(backbone, 1.0, -1.0)
    _, depths = Packed(model)(images)
    counted = tokens_per_block(depths, LAYERS).sum(dim=0).tolist()
    assert tokens_computed(model, images) == [count for count in counted if count]
    assert counted[-1] < counted[1] < BATCH * TOKENS


@pytest.mark.parametrize(
    ("groups", "expected"),
    [(None, [(1, 1), (1, TOKENS)] * 2), (2, [(2, 1), (2, TOKENS)]), (1, [(4, TOKENS)])],
)
def test_attention_pads_images_of_similar_length_together(
    backbone, images, monkeypatch, groups, expected
):
    attended = []

    def observed(query, *others, **options):
        attended.append((query.shape[0], query.shape[2]))
        return attention(query, *others, **options)

    attention = nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", observed)
    depths = torch.full((4, TOKENS), LAYERS)
    depths[::2, 1:] = LAYERS - 1
    Packed(Scripted(backbone, depths), groups)(images[:4])
    assert attended[-len(expected) :] == expected


def test_keeps_no_graph_and_leaves_images_alone(backbone, images):
    before = images.clone()
    logits, _ = Packed(AViT(backbone, 1.0, 0.0))(images)
    assert not logits.requires_grad
    assert torch.equal(images, before)


@pytest.mark.parametrize("groups", [None, 4])
def test_agrees_under_autocast(backbone, images, groups):
    model = Scripted(backbone, random_depths(0))
    with torch.autocast("cpu", torch.bfloat16):
        check_agrees(model, images, groups, tolerance=0.05)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("groups", [None, 2])
@pytest.mark.parametrize("dtype", [None, torch.float16, torch.bfloat16])
def test_agrees_on_cuda(backbone, images, dtype, groups):
    model = Scripted(backbone, random_depths(0).cuda()).cuda()
    tolerance = 1e-4 if dtype is None else 0.1
    try:
        with torch.autocast("cuda", dtype, enabled=dtype is not None):
            check_agrees(model, images.cuda(), groups, tolerance)
    finally:
        backbone.cpu()
