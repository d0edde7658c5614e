"""Points chosen on calibration images, and rows that say what each split gets."""

import io
import math

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import accuracy_score, f1_score

from frugalvit.methods.early_exit.choosing import (
    Costs,
    budget_point,
    correctness,
    curve_points,
    drop_point,
    full_point,
    risk_point,
)
from frugalvit.methods.early_exit.criteria import CRITERIA, decide
from frugalvit.methods.early_exit.risk import Certificate
from frugalvit.methods.early_exit.tables import evaluate_points
from frugalvit.operating_point import COLUMNS, EVALUATED, NEVER, Point

CLASSES = 5
COSTS = Costs(blocks=[1, 2, 4, 6], gflops=[1.0, 2.0, 4.0, 6.25], full_gflops=6.0)
TEMPERATURES = [0.8, 1.0, 1.2, 1.5]


def make_split(images: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits `[images, exits, classes]` that get better with depth, and labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (images,), generator=generator)
    noise = torch.randn(images, 4, CLASSES, generator=generator)
    signal = F.one_hot(labels, CLASSES)[:, None] * torch.tensor([1.5, 2.5, 3.0, 3.5])[:, None]
    return 2 * (signal + noise), labels


SPLITS = {name: make_split(100 + 10 * k, k) for k, name in enumerate(("calibration", "test"))}
LOGITS, LABELS = SPLITS["calibration"]


def calibration_row(point: Point) -> pd.Series:
    table = evaluate_points([point], SPLITS, TEMPERATURES, COSTS)
    return table[table["split"] == "calibration"].iloc[0]


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_row_is_what_its_images_say(criterion):
    threshold = 2.0 if criterion == "patience" else 0.7
    point = Point(criterion, 0.5, criterion, threshold)
    table = evaluate_points([point], SPLITS, TEMPERATURES, COSTS)
    assert list(table.columns) == EVALUATED == COLUMNS[4:]
    assert list(table["split"]) == ["calibration", "test"]
    for row in table.itertuples():
        logits, labels = SPLITS[row.split]
        exits, answers = decide(logits, TEMPERATURES, criterion, threshold)
        predicted = answers.argmax(dim=1)
        assert len(exits.unique()) >= 3
        assert row.n == len(labels)
        assert row.accuracy == pytest.approx(accuracy_score(labels, predicted))
        assert row.macro_f1 == pytest.approx(f1_score(labels, predicted, average="macro"))
        counts = [int((exits == e).sum()) for e in range(4)]
        assert row.exit_histogram == " ".join(map(str, counts))
        assert row.gflops == pytest.approx(sum(c * g for c, g in zip(counts, COSTS.gflops)) / row.n)
        assert row.mean_depth == pytest.approx(
            sum(c * b for c, b in zip(counts, COSTS.blocks)) / row.n
        )
        assert pd.isna([row.latency_ms, row.images_per_s, row.latency_p95_ms]).all()


@pytest.mark.parametrize("criterion", CRITERIA)
def test_the_full_model_is_the_plain_one_at_its_own_cost(criterion):
    row = calibration_row(full_point(criterion))
    assert row["gflops"] == COSTS.full_gflops
    assert row["mean_depth"] == 6
    assert row["exit_histogram"] == "0 0 0 100"
    assert row["accuracy"] == pytest.approx((LOGITS[:, -1].argmax(1) == LABELS).double().mean())
    assert pd.isna(row["value"])


@pytest.mark.parametrize("criterion", ["confidence", "entropy", "margin", "ensemble"])
def test_a_curve_keeps_the_shares_it_can(criterion):
    shares = [0.1, 0.5, 0.9, 0.7]
    points = curve_points(criterion, shares, LOGITS, TEMPERATURES, COSTS)
    assert [point.value for point in points] == [0.5, 0.7, 0.9]
    assert {(point.setting, point.criterion) for point in points} == {(criterion, criterion)}
    for point in points:
        spent = calibration_row(point)["gflops"] / COSTS.full_gflops
        assert point.value - 0.06 < spent <= point.value


def test_patience_has_the_points_that_it_can_have():
    shares = [k / 20 for k in range(1, 20)]
    points = curve_points("patience", shares, LOGITS, TEMPERATURES, COSTS)
    assert [point.threshold for point in points] == [2.0, 3.0]
    for point in points:
        spent = calibration_row(point)["gflops"] / COSTS.full_gflops
        assert point.value - 0.05 < spent <= point.value


def test_a_budget():
    point = budget_point(0.6, "margin", LOGITS, TEMPERATURES, COSTS)
    assert (point.setting, point.value, point.criterion, point.note) == (
        "budget",
        0.6,
        "margin",
        "",
    )
    assert 0.55 < calibration_row(point)["gflops"] / COSTS.full_gflops <= 0.6
    everything = budget_point(1.0, "margin", LOGITS, TEMPERATURES, COSTS)
    assert (everything.threshold, everything.note) == (NEVER, "")
    nothing = budget_point(0.1, "margin", LOGITS, TEMPERATURES, COSTS)
    assert nothing.threshold == NEVER
    assert nothing.note == (
        "no threshold of margin costs 0.1 of the full model's GFLOPs or less (least: 0.17): "
        "the full model is used"
    )


def test_a_drop():
    point = drop_point(0.05, "confidence", LOGITS, LABELS, TEMPERATURES, COSTS)
    assert (point.setting, point.value, point.note) == ("drop", 0.05, "")
    row, full = calibration_row(point), calibration_row(full_point("confidence"))
    assert full["accuracy"] - 0.05 - 1e-9 <= row["accuracy"]
    assert row["gflops"] < COSTS.full_gflops
    backwards = LOGITS.clone()
    backwards[:, :-1] = -50 * F.one_hot(LABELS, CLASSES)[:, None].float()
    point = drop_point(0.05, "patience", backwards, LABELS, TEMPERATURES, COSTS)
    assert point.threshold == NEVER
    assert point.note.endswith("on the calibration images: the full model is used")


def test_a_certificate_becomes_a_point():
    shown = Certificate(0.8, 0.02, 0.1, n=300, p_value=0.034, loss=0.001, note="")
    on_images = (LOGITS, TEMPERATURES, COSTS)
    assert risk_point(shown, "entropy", *on_images) == Point(
        "risk", 0.02, "entropy", 0.8,
        "drop at most 0.02 with probability 0.9, shown on n = 300 (p = 0.034)",
    )  # fmt: skip
    failed = Certificate(NEVER, 0.02, 0.1, n=300, p_value=0.4, loss=0.03, note="could not be shown")
    assert risk_point(failed, "entropy", *on_images).note == "could not be shown"
    dear = Costs(blocks=COSTS.blocks, gflops=[6.1, 6.2, 6.3, 6.4], full_gflops=6.0)
    point = risk_point(shown, "entropy", LOGITS, TEMPERATURES, dear)
    assert point.threshold == NEVER
    assert "costs as much as the full model" in point.note


def test_a_drop_is_never_dearer_than_the_full_model():
    dear = Costs(blocks=COSTS.blocks, gflops=[6.1, 6.2, 6.3, 6.4], full_gflops=6.0)
    point = drop_point(0.5, "confidence", LOGITS, LABELS, TEMPERATURES, dear)
    assert point.threshold == NEVER


def test_an_ensembles_last_answer_is_not_the_plain_models():
    right, full_right = correctness(LOGITS, LABELS, TEMPERATURES, "ensemble")
    assert not torch.equal(right[:, -1], full_right)
    assert torch.equal(full_right, LOGITS[:, -1].argmax(dim=1) == LABELS)
    right, full_right = correctness(LOGITS, LABELS, TEMPERATURES, "margin")
    assert torch.equal(right[:, -1], full_right)


def test_pandas_reads_back_what_was_written():
    point = budget_point(0.6, "confidence", LOGITS, TEMPERATURES, COSTS)
    table = evaluate_points([full_point("confidence"), point], SPLITS, TEMPERATURES, COSTS)
    read = pd.read_csv(io.StringIO(table.to_csv(index=False)), keep_default_na=False,
                       na_values={"value": [""]}, dtype={"exit_histogram": str})  # fmt: skip
    assert [math.isinf(t) for t in read["threshold"]] == [True, False, True, False]
    assert not read["chosen"].any()
    exits, _ = decide(LOGITS, TEMPERATURES, "confidence", float(read["threshold"][1]))
    assert " ".join(map(str, exits.bincount(minlength=4).tolist())) == read["exit_histogram"][1]
