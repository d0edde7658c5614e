"""Operations up to each exit against torch's own counter, and who is measured on what."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from frugalvit.evaluation.cost import COLUMNS
from frugalvit.evaluation.timing import measure_points
from frugalvit.methods.early_exit.exit_flops import exit_flops, head_flops
from frugalvit.methods.early_exit.model import EarlyExits
from frugalvit.models.backbone import build
from frugalvit.models.flops import num_tokens, vit_flops

ARCHITECTURE = {
    "image_size": 16, "patch_size": 4, "num_layers": 4, "num_heads": 2, "hidden_dim": 16,
    "mlp_dim": 24,
}  # fmt: skip
CLASSES = 5


def heads(kind: str, shallow: str | None = None, shallow_blocks: int = 0) -> dict:
    return {"kind": kind, "shallow": shallow, "shallow_blocks": shallow_blocks, "hidden_dim": 8}


@pytest.mark.parametrize("kind", ["linear", "mlp", "conv"])
def test_heads_cost_exactly_what_torch_counts(kind):
    model = EarlyExits(build(ARCHITECTURE, CLASSES), [2, 4], heads(kind)).eval()
    tokens = torch.zeros(1, num_tokens(ARCHITECTURE), 16)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.exit_logits(2, tokens)
    assert head_flops(ARCHITECTURE, CLASSES, kind, 8) == counter.get_total_flops() > 0


def test_an_image_pays_for_every_exit_on_its_way():
    gflops = exit_flops(ARCHITECTURE, CLASSES, [1, 3, 4], heads("linear", "conv", 2))
    conv = head_flops(ARCHITECTURE, CLASSES, "conv", 8) / 1e9
    linear = head_flops(ARCHITECTURE, CLASSES, "linear", 8) / 1e9
    tokens = num_tokens(ARCHITECTURE)

    def headless(blocks: int) -> float:
        return vit_flops(ARCHITECTURE, 0, [tokens] * blocks)

    full = vit_flops(ARCHITECTURE, CLASSES)
    assert gflops == pytest.approx([headless(1) + conv, headless(3) + conv + linear,
                                    full + conv + linear], rel=1e-12)  # fmt: skip


def test_without_exits_it_is_the_plain_model():
    assert exit_flops(ARCHITECTURE, CLASSES, [4], heads("mlp")) == [
        pytest.approx(vit_flops(ARCHITECTURE, CLASSES), rel=1e-12)
    ]


class Recorder(nn.Module):
    """Notes which images it was shown, in a diary that several share."""

    def __init__(self, name: str, diary: list):
        super().__init__()
        self.name, self.diary = name, diary
        self.weight = nn.Parameter(torch.zeros(3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.diary.append((self.name, images[:, 0, 0, 0].int().tolist()))
        return images


@pytest.mark.parametrize(
    ("batch_size", "expected"),
    [
        (1, [[0], [1], [2], [3], [4]]),
        (2, [[0, 1], [2, 3], [4, 0]]),
        (8, [[0, 1, 2, 3, 4, 0, 1, 2]]),
    ],
)
def test_models_take_turns_on_the_same_images(batch_size, expected):
    diary: list = []
    models = {name: Recorder(name, diary) for name in ("plain", "early", "later")}
    images = torch.arange(5.0)[:, None, None, None].expand(5, 3, 2, 2)
    measure_points(models, images, [batch_size], 1, 0.0, torch.device("cpu"))
    warm_up, timed = diary[:3], diary[3:]
    assert warm_up == [(name, expected[0]) for name in models]
    for name in models:
        assert [shown for who, shown in timed if who == name] == expected
    turns = [timed[start : start + 3] for start in range(0, len(timed), 3)]
    assert all({who for who, _ in turn} == set(models) for turn in turns)
    assert len({turn[0][0] for turn in turns}) == min(3, len(expected))


def test_a_measurement_says_what_it_measured():
    models = {"plain": build(ARCHITECTURE, CLASSES).eval(), "other": Recorder("other", [])}
    images = torch.randn(6, 3, 16, 16)
    before = torch.get_num_threads()
    rows = measure_points(models, images, [4, 1, 4], 1, 0.01, torch.device("cpu"))
    assert torch.get_num_threads() == before
    assert [(row["model"], row["batch_size"]) for row in rows] == [
        ("plain", 1), ("other", 1), ("plain", 4), ("other", 4),
    ]  # fmt: skip
    assert set(rows[0]) == set(COLUMNS) - {"gflops", "precision"}
    for row in rows:
        assert row["images_per_s"] > 0
        assert row["peak_memory_mb"] is None, "a CPU's is the whole process's"
        assert row["spread"] >= 0
        assert row["busy_cores"] >= 0
        assert 0 < row["call_ms"] <= row["call_p95_ms"]
        assert (row["device"], row["threads"]) == ("cpu (1 thread)", 1)
        if row["batch_size"] == 1:
            assert 0 < row["latency_ms"] <= row["latency_p95_ms"]
        else:
            assert row["latency_ms"] is row["latency_p95_ms"] is None
    assert rows[1]["params_m"] == 3e-6
