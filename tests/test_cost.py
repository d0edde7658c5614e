"""The analytic count against torch's own counter, and what a measurement records."""

import os
import subprocess
import sys
import time

import pytest
import timm
import torch
from timm.layers import set_fused_attn
from torch.utils.flop_counter import FlopCounterMode

from frugalvit.busy import load_text
from frugalvit.evaluation.cost import Bystanders
from frugalvit.models.architectures import named_architecture
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


def test_busy_bystanders_are_told_and_this_process_is_none():
    """On a machine that is busy for other reasons they only add to it."""
    spin = "import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass"
    watched = Bystanders()
    started, own = time.monotonic(), time.process_time()
    other = subprocess.Popen([sys.executable, "-c", spin])
    exec(spin)
    _, status, used = os.wait4(other.pid, 0)
    other.returncode = os.waitstatus_to_exitcode(status)
    own, seconds = time.process_time() - own, time.monotonic() - started
    cores = watched.cores()
    assert own > 0.4
    assert cores > 0.6 * used.ru_utime / seconds
    assert cores + own / seconds < (os.cpu_count() or 1) + 0.2


def test_times_taken_beside_others_are_flagged():
    assert load_text([0.0, 0.2, float("nan")]) == load_text([]) == ""
    assert "kept 1.5 cores busy" in load_text([0.1, 1.5])
