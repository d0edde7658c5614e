"""The analytic count against torch's own counter, and what a measurement records."""

import pytest
import timm
import torch
from timm.layers import set_fused_attn
from torch.utils.flop_counter import FlopCounterMode

from frugalvit.evaluation.cost import COLUMNS, measure
from frugalvit.models.backbone import build, named_architecture
from frugalvit.models.flops import block_flops, flops_by_part, num_tokens, vit_flops

SMALL = {
    "image_size": 16,
    "patch_size": 4,
    "num_layers": 2,
    "num_heads": 2,
    "hidden_dim": 16,
    "mlp_dim": 24,
}


@pytest.fixture
def explicit_attention():
    """timm computes attention by explicit products: the counter sees no fused kernel on a CPU."""
    set_fused_attn(False)
    yield
    set_fused_attn(True)


@pytest.mark.parametrize(
    ("theirs", "ours", "image_size"),
    [
        ("vit_tiny_patch16_224", "vit_tiny", 224),
        ("vit_small_patch16_224", "vit_small", 224),
        ("vit_base_patch16_224", "vit_b_16", 224),
        ("vit_base_patch32_224", "vit_b_32", 224),
        ("vit_small_patch16_384", "vit_small", 384),
    ],
)
def test_exactly_what_torch_counts(explicit_attention, theirs, ours, image_size):
    with torch.device("meta"):
        model = timm.create_model(theirs, pretrained=False, num_classes=102).eval()
        images = torch.empty(1, 3, image_size, image_size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(images)
    parts = flops_by_part(named_architecture(ours, image_size), 102)
    assert sum(parts.values()) == counter.get_total_flops()
    by_module = {
        name.rpartition(".")[2]: sum(counts.values())
        for name, counts in counter.get_flop_counts().items()
    }
    assert parts["patch_embedding"] == by_module["patch_embed"]
    assert parts["head"] == by_module["head"]


def test_known_figures():
    """Touvron et al. 2021, table 5, and torchvision's `_ops`: multiply-adds, half of ours."""
    assert vit_flops(named_architecture("vit_tiny"), 1000) / 2 == pytest.approx(1.3, abs=0.06)
    assert vit_flops(named_architecture("vit_b_16"), 1000) / 2 == pytest.approx(17.564, rel=0.003)


def test_fewer_tokens_and_fewer_blocks_cost_what_they_should():
    full = flops_by_part(SMALL, 5)
    tokens = num_tokens(SMALL)
    assert tokens == 17
    assert flops_by_part(SMALL, 5, [tokens, tokens]) == full
    halted = flops_by_part(SMALL, 5, [tokens, 9])
    assert halted["block 1"] == full["block 1"]
    assert halted["block 2"] == sum(block_flops(SMALL, 9).values()) < full["block 2"]
    early = flops_by_part(SMALL, 5, [tokens])
    assert early == {part: full[part] for part in ("patch_embedding", "block 1", "head")}
    assert flops_by_part(SMALL, 0)["head"] == 0


def test_a_measurement_says_what_it_measured():
    model = build(SMALL, 5).eval()
    device = torch.device("cpu")
    before = torch.get_num_threads()
    rows = measure(model, 16, device, [4, 1, 4], threads=1, seconds=0.02)
    assert torch.get_num_threads() == before
    assert [row["batch_size"] for row in rows] == [1, 4]
    assert set(rows[0]) == set(COLUMNS) - {"model", "gflops", "precision"}
    single, batched = rows
    assert 0 < single["latency_ms"] <= single["latency_p95_ms"]
    assert single["images_per_s"] == pytest.approx(1e3 / single["latency_ms"])
    assert batched["latency_ms"] is batched["latency_p95_ms"] is None
    assert batched["images_per_s"] > 0
    for row in rows:
        assert row["params_m"] == sum(p.numel() for p in model.parameters()) / 1e6
        assert row["peak_memory_mb"] > 1
        assert row["device"].startswith("cpu")
        assert (row["threads"], row["torch"]) == (1, torch.__version__)
