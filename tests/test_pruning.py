"""Token pruning: the class token's choice, the fused rest, and exactly the operations stated."""

import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from frugalvit.errors import ConfigError
from frugalvit.methods.token_pruning.pruning import (
    SELECT,
    TokenPruning,
    class_attention,
    default_blocks,
    drawn,
    key_norms,
    prune,
)
from frugalvit.models.attention import query_key_value
from frugalvit.models.backbone import build, embed
from frugalvit.models.flops import vit_flops

ARCHITECTURE = {
    "image_size": 16, "patch_size": 4, "num_layers": 4, "num_heads": 2, "hidden_dim": 16,
    "mlp_dim": 24,
}  # fmt: skip
CLASSES, BATCH = 5, 6


def backbone(**changes: int) -> nn.Module:
    """A model whose tokens, attention and answers differ clearly from image to image."""
    torch.manual_seed(0)
    model = build(ARCHITECTURE | changes, CLASSES)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(BATCH, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def prune_slowly(model: nn.Module, image: torch.Tensor, kept: dict[int, int]) -> torch.Tensor:
    """Logits `[classes]` of one image, whose block b keeps `kept[b]` patch tokens."""
    tokens = embed(model, image[None])[0]
    for number, block in enumerate(model.encoder.layers, start=1):
        normed = block.ln_1(tokens)[None]
        mixed, weights = block.self_attention(normed, normed, normed, need_weights=True)
        tokens = tokens + mixed[0]
        if number in kept:
            ranked = sorted(range(1, len(tokens)), key=lambda token: -weights[0, 0, token].item())
            best, others = ranked[: kept[number]], ranked[kept[number] :]
            fused = sum(weights[0, 0, token] * tokens[token] for token in others)
            tokens = torch.stack([tokens[0], *(tokens[token] for token in best), fused])
        tokens = tokens + block.mlp(block.ln_2(tokens))
    return model.heads(model.encoder.ln(tokens[0]))


def test_the_most_attended_stay_and_the_others_fuse():
    tokens = torch.tensor([[[100.0], [1], [2], [3], [4]], [[200.0], [5], [6], [7], [8]]])
    attention = torch.tensor([[0.1, 0.4, 0.05, 0.3], [0.5, 0.02, 0.08, 0.2]])
    pruned = prune(tokens, attention, 2)
    first = [100, 2, 4, 0.1 * 1 + 0.05 * 3]
    second = [200, 5, 8, 0.02 * 6 + 0.08 * 7]
    torch.testing.assert_close(pruned.squeeze(2), torch.tensor([first, second]))


def test_equal_attention_keeps_the_first():
    tokens = torch.arange(40.0).view(1, 40, 1)
    assert prune(tokens, torch.full((1, 39), 0.02), 3)[0, :4, 0].tolist() == [0, 1, 2, 3]


def test_class_attention_is_that_of_torch():
    attention = backbone().encoder.layers[1].self_attention
    tokens = torch.randn(BATCH, 9, 16, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        query, key, _ = query_key_value(attention, tokens)
        _, expected = attention(tokens, tokens, tokens)  # [batch, queries, keys], mean over heads
        torch.testing.assert_close(class_attention(query, key), expected[:, 0, 1:])


@pytest.mark.parametrize(
    ("keep", "blocks", "kept"),
    [
        (0.5, [2], {2: 8}),
        (0.5, [1, 2, 4], {1: 8, 2: 5, 4: 3}),  # of 16, of 8 + 1, of 5 + 1
        (0.01, [3, 1], {1: 1, 3: 1}),
        (0.7, [1, 2, 3, 4], {1: 12, 2: 10, 3: 8, 4: 7}),
    ],
)
def test_the_batch_answers_as_the_paper_written_out(images, keep, blocks, kept):
    model = backbone()
    with torch.inference_mode():
        logits = TokenPruning(model, keep, blocks)(images)
        if kept == {1: 1, 3: 1}:  # what block 3 reads, one patch token and the fused, all stays
            kept = {1: 1}
        expected = torch.stack([prune_slowly(model, image, kept) for image in images])
        if min(blocks) < 4:
            assert (logits - model(images)).abs().max() > 1e-2
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


def test_keeping_all_is_the_plain_model(images):
    model = backbone()
    pruning = TokenPruning(model, 1)
    assert pruning.tokens == [17] * 4
    with torch.inference_mode():
        torch.testing.assert_close(pruning(images), model(images), rtol=0, atol=1e-5)


def test_tokens_per_block():
    assert TokenPruning(backbone(), 0.5, [2, 3]).tokens == [17, 10, 7, 7]
    assert TokenPruning(backbone(), 0.95, [1]).tokens == [17] * 4  # 16 of 16
    assert TokenPruning(backbone(), 0.93, [1]).tokens == [17] * 4  # 15, and one that stays
    assert TokenPruning(backbone(), 0.87, [1]).tokens == [16] * 4  # 14 and two that fuse
    # A product that floating point puts just above a whole number is not rounded up.
    assert 0.07 * 100 > 7
    hundred = backbone(image_size=40, num_layers=1)
    assert TokenPruning(hundred, 0.07, [1]).tokens == [1 + 7 + 1]


def test_default_blocks():
    assert default_blocks(12) == [4, 7, 10]
    assert default_blocks(6) == [2, 4, 5]
    assert default_blocks(24) == [8, 14, 20]
    for num_layers in range(1, 13):
        assert set(default_blocks(num_layers)) <= set(range(1, num_layers + 1))
    assert TokenPruning(backbone(), 0.5).blocks == default_blocks(4)


def test_images_do_not_mix(images):
    pruning = TokenPruning(backbone(), 0.5, [1, 2])
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    with torch.inference_mode():
        logits = pruning(images)
        torch.testing.assert_close(pruning(images[order]), logits[order])
        torch.testing.assert_close(pruning(images[:1]), logits[:1])
        assert torch.equal(pruning(images), logits)


@pytest.mark.parametrize("keep", [1, 0.7, 0.5, 0.1])
def test_operations_are_what_torch_counts(images, keep):
    pruning = TokenPruning(backbone(), keep)
    # The counter sees no fused attention on a CPU.
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        pruning(images[:1])
    assert pruning.gflops() * 1e9 == pytest.approx(counter.get_total_flops(), rel=1e-12)
    if keep == 1:
        assert pruning.gflops() == pytest.approx(vit_flops(ARCHITECTURE, CLASSES), rel=1e-12)


def test_the_backbone_is_only_observed(images):
    model = backbone()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    pruning = TokenPruning(model, 0.5)
    pruning(images)
    assert pruning.backbone is model
    assert {name.removeprefix("backbone.") for name in pruning.state_dict()} == set(before)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_half_precision(images):
    pruning = TokenPruning(backbone(), 0.5)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert pruning(images).isfinite().all()
    with torch.inference_mode():
        assert pruning.bfloat16()(images.bfloat16()).isfinite().all()


@pytest.mark.parametrize("keep", [0, -0.5, 1.1, math.nan])
def test_no_share_of_tokens(keep):
    with pytest.raises(ConfigError, match="share of tokens"):
        TokenPruning(backbone(), keep)


@pytest.mark.parametrize("block", [0, 5])
def test_a_block_that_is_not_there(block):
    with pytest.raises(ConfigError, match=rf"block {block} .* 4 blocks; use 1 to 4"):
        TokenPruning(backbone(), 0.5, [2, block])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_prunes_the_same(images):
    pruning = TokenPruning(backbone(), 0.5)
    with torch.inference_mode():
        expected = pruning(images)
        pruning.cuda()
        logits = pruning(images.cuda())
        assert torch.equal(logits, pruning(images.cuda()))
    torch.testing.assert_close(logits.cpu(), expected, rtol=1e-3, atol=1e-3)


def test_controls_keep_as_many_by_other_scores(images):
    model = backbone()
    answers = {}
    with torch.inference_mode():
        for select in SELECT:
            pruning = TokenPruning(model, 0.5, [1, 2], select)
            assert pruning.tokens == TokenPruning(model, 0.5, [1, 2]).tokens
            assert pruning.gflops() == TokenPruning(model, 0.5, [1, 2]).gflops()
            answers[select] = pruning(images)
    for one, other in itertools.combinations(SELECT, 2):
        assert (answers[one] - answers[other]).abs().max() > 1e-2


def test_keys_of_the_largest_norm_stay():
    key = torch.zeros(1, 4, 2, 3)
    key[0, 1:, :, 0] = torch.tensor([[3.0, 1], [0, 1], [2, 4]])
    torch.testing.assert_close(key_norms(key), torch.tensor([[2.0, 0.5, 3.0]]))
    tokens, attention = torch.tensor([[[9.0], [1], [2], [3]]]), torch.tensor([[0.1, 0.8, 0.1]])
    assert prune(tokens, attention, 1, key_norms(key))[0, 1].item() == 3
    assert prune(tokens, attention, 1)[0, 1].item() == 2


def test_what_is_drawn_belongs_to_the_image_and_the_block_and_is_spread_evenly():
    many = torch.randn(400, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    numbers = drawn(many, 1, 50)
    assert torch.equal(drawn(many[7:9], 1, 50), numbers[7:9])
    assert not torch.equal(drawn(many, 2, 50), numbers)
    shares = numbers / 2**24
    assert shares.min() >= 0 and shares.max() < 1
    assert shares.mean().item() == pytest.approx(0.5, abs=0.01)
    # Each place is the largest in about one image of fifty.
    largest = numbers.argmax(dim=1).bincount(minlength=50)
    assert largest.min() >= 1 and largest.max() <= 24
    pairs = torch.corrcoef(shares.T)
    assert (pairs - torch.eye(50)).abs().max() < 0.25


@pytest.mark.parametrize("select", SELECT)
def test_an_image_is_pruned_the_same_in_any_batch(images, select):
    pruning = TokenPruning(backbone(), 0.5, [1, 3], select)
    with torch.inference_mode():
        alone = torch.cat([pruning(image[None]) for image in images])
        torch.testing.assert_close(pruning(images), alone, rtol=1e-4, atol=1e-4)
