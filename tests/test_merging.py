"""Token merging: the paper's matching and averages, and exactly the operations that it states."""

from collections import Counter
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from frugalvit.errors import ConfigError
from frugalvit.methods.token_merging.merging import TokenMerging, match, merge
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


def merge_image(tokens, sizes, keys, r):
    """One image's tokens after merging, as a list of (token, size), pair by pair."""
    found = []
    for a in range(2, len(tokens), 2):
        similarities = {
            b: torch.cosine_similarity(keys[a], keys[b], dim=0).item()
            for b in range(1, len(tokens), 2)
        }
        b = max(similarities, key=similarities.get)
        found.append((similarities[b], a, b))
    into = {a: b for _, a, b in sorted(found, reverse=True)[:r]}
    members = {place: [place] for place in range(len(tokens)) if place not in into}
    for a, b in into.items():
        members[b].append(a)
    order = sorted(members, key=lambda place: (place > 0, place % 2, place))
    merged_sizes = torch.stack([sizes[members[place]].sum() for place in order])
    sums = [(tokens[members[p]] * sizes[members[p], None]).sum(dim=0) for p in order]
    return torch.stack(sums) / merged_sizes[:, None], merged_sizes


def merge_slowly(model: nn.Module, image: torch.Tensor, r: int) -> torch.Tensor:
    """Logits `[classes]` of one image, written out after the paper."""
    tokens = embed(model, image[None])[0]
    sizes = torch.ones(len(tokens))
    for block in model.encoder.layers:
        attention = block.self_attention
        joined = block.ln_1(tokens) @ attention.in_proj_weight.T + attention.in_proj_bias
        query, key, value = joined.view(len(tokens), 3, attention.num_heads, -1).unbind(1)
        heads = []
        for head in range(attention.num_heads):
            scores = query[:, head] @ key[:, head].T / attention.head_dim**0.5 + sizes.log()
            heads.append(scores.softmax(dim=1) @ value[:, head])
        tokens = tokens + attention.out_proj(torch.cat(heads, dim=1))
        count = min(r, (len(tokens) - 1) // 2)
        tokens, sizes = merge_image(tokens, sizes, key.mean(dim=1), count)
        tokens = tokens + block.mlp(block.ln_2(tokens))
    return model.heads(model.encoder.ln(tokens[0]))


def test_one_pair_by_hand():
    keys = torch.tensor([[[1.0, 0], [1, 0], [5, 0.5], [0, 1], [1, 1.1]]])  # 2 is nearest to 1
    tokens = torch.tensor([[[10.0], [1], [4], [7], [9]]])
    sizes = torch.tensor([[1.0, 2, 1, 1, 3]])
    matching = match(keys, 1)
    assert [part.tolist() for part in matching] == [[[2]], [[1]], [[0, 4, 1, 3]]]
    merged, merged_sizes = merge(tokens, sizes, matching)
    assert merged.flatten().tolist() == pytest.approx([10, 9, (2 * 1 + 4) / 3, 7])
    assert merged_sizes.tolist() == [[1, 3, 3, 1]]


def test_several_merge_into_one():
    keys = torch.tensor([[[1.0, 0], [1, 0], [2, 0.1], [0, 1], [1, 0.5]]])
    matching = match(keys, 2)
    assert [part.tolist() for part in matching] == [[[2, 4]], [[1, 1]], [[0, 1, 3]]]
    merged, sizes = merge(
        torch.tensor([[[10.0], [1], [4], [7], [9]]]), torch.tensor([[1.0, 2, 1, 1, 3]]), matching
    )
    assert merged.flatten().tolist() == pytest.approx([10, (2 * 1 + 4 + 3 * 9) / 6, 7])
    assert sizes.tolist() == [[1, 6, 1]]


@pytest.mark.parametrize("tokens", [2, 3, 8, 17])
def test_the_class_token_stays_and_no_patch_is_lost(tokens):
    generator = torch.Generator().manual_seed(tokens)
    states = torch.randn(BATCH, tokens, 3, generator=generator)
    keys = torch.randn(BATCH, tokens, 2, generator=generator)
    keys[:, -1] = keys[:, 0]  # like no other token, but for the class token
    sizes = torch.ones(BATCH, tokens)
    matching = match(keys, (tokens - 1) // 2)
    merged, merged_sizes = merge(states, sizes, matching)
    assert torch.equal(merged[:, 0], states[:, 0])
    assert (merged_sizes[:, 0] == 1).all()
    assert (merged_sizes.sum(dim=1) == tokens).all()
    torch.testing.assert_close((merged * merged_sizes[..., None]).sum(1), states.sum(1))
    for source, target, kept in zip(*(part.tolist() for part in matching), strict=True):
        assert Counter(source + kept) == Counter(range(tokens))
        assert set(target) <= set(kept) - {0}


@pytest.mark.parametrize("r", [1, 3, 100])
def test_the_batch_answers_as_the_paper_written_out(images, r):
    model = backbone()
    with torch.inference_mode():
        logits = TokenMerging(model, r)(images)
        expected = torch.stack([merge_slowly(model, image, r) for image in images])
        assert (logits - model(images)).abs().max() > 1e-2
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


def test_merging_nothing_is_the_plain_model(images):
    model = backbone()
    merging = TokenMerging(model, 0)
    assert merging.tokens == [17] * 4
    with torch.inference_mode():
        torch.testing.assert_close(merging(images), model(images), rtol=0, atol=1e-5)


@pytest.mark.parametrize("copies", [2, 4])
def test_merging_copies_changes_nothing(copies):
    """Equal neighbours merge in every block but the last, whose patch tokens nobody reads."""
    model = backbone(num_layers=copies // 2 + 1)
    model.encoder.pos_embedding.data[:, 1:] = model.encoder.pos_embedding.data[:, 1:2]
    patches = torch.randn(BATCH, 3, 4, 4 // copies, 4, generator=torch.Generator().manual_seed(2))
    rows = patches.repeat_interleave(copies, dim=3).flatten(3)  # patches differ in one line only
    images = rows.repeat_interleave(4, dim=2)
    merging = TokenMerging(model, 8)
    with torch.inference_mode():
        torch.testing.assert_close(merging(images), model(images), rtol=0, atol=1e-4)
    assert merging.tokens[0] == 9


def test_images_do_not_mix(images):
    merging = TokenMerging(backbone(), 3)
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    with torch.inference_mode():
        logits = merging(images)
        torch.testing.assert_close(merging(images[order]), logits[order])
        torch.testing.assert_close(merging(images[:1]), logits[:1])
        assert torch.equal(merging(images), logits)


@pytest.mark.parametrize("r", [0, 1, 3, 5, 100, 0.4])
def test_operations_are_what_torch_counts(images, r):
    merging = TokenMerging(backbone(), r)
    # The counter sees no fused attention on a CPU.
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        merging(images[:1])
    assert merging.gflops() * 1e9 == pytest.approx(counter.get_total_flops(), rel=1e-12)
    if r == 0:
        assert merging.gflops() == pytest.approx(vit_flops(ARCHITECTURE, CLASSES), rel=1e-12)


def test_tokens_per_block():
    assert TokenMerging(backbone(), 3).tokens == [14, 11, 8, 5]
    assert TokenMerging(backbone(), 100).tokens == [9, 5, 3, 2]


@pytest.mark.parametrize(("share", "left"), [(0.5, 8), (0.25, 12), (0.05, 15)])
@pytest.mark.parametrize("changes", [{}, {"num_layers": 7}])
def test_a_share_is_of_all_patches_whatever_the_depth(share, left, changes):
    tokens = TokenMerging(backbone(**changes), share).tokens
    assert tokens[-1] == 1 + left
    leaving = [before - after for before, after in pairwise([17, *tokens])]
    assert max(leaving) - min(leaving) <= 1


def test_the_backbone_is_only_observed(images):
    model = backbone()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    merging = TokenMerging(model, 3)
    merging(images)
    assert merging.backbone is model
    assert {name.removeprefix("backbone.") for name in merging.state_dict()} == set(before)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_half_precision(images):
    merging = TokenMerging(backbone(), 3)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert merging(images).isfinite().all()
    with torch.inference_mode():
        assert merging.bfloat16()(images.bfloat16()).isfinite().all()


@pytest.mark.parametrize("r", [-1, 1.5, True])
def test_no_number_of_tokens(r):
    with pytest.raises(ConfigError, match="tokens to merge"):
        TokenMerging(backbone(), r)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_merges_the_same(images):
    merging = TokenMerging(backbone(), 3)
    with torch.inference_mode():
        expected = merging(images)
        merging.cuda()
        logits = merging(images.cuda())
        assert torch.equal(logits, merging(images.cuda()))
    torch.testing.assert_close(logits.cpu(), expected, rtol=1e-3, atol=1e-3)
