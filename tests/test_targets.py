"""Thresholds come from the calibration images meant for them, and promises hold through it all."""

import pytest
import torch
import torch.nn.functional as F

from frugalvit.errors import DataError
from frugalvit.methods.early_exit.choosing import Costs
from frugalvit.methods.early_exit.criteria import CRITERIA
from frugalvit.methods.early_exit.enough import check_targets, split_calibration
from frugalvit.methods.early_exit.tables import evaluate_points
from frugalvit.methods.early_exit.targets import calibrate
from frugalvit.operating_point import NEVER

COSTS = Costs(blocks=[1, 2, 3], gflops=[1.0, 2.0, 3.1], full_gflops=3.0)
CLASSES = 5


def how(**changes):
    return {
        "criterion": "confidence",
        "calibration": {"certify": 0.75, "seed": 0},
        "targets": {"budget": [0.6], "drop": [0.02], "risk": [{"epsilon": 0.05, "delta": 0.1}]},
        "choose": "risk",
        "curve": [0.5, 0.8],
    } | changes


def draw(images, seed):
    """Logits `[images, exits, classes]` of images easy and hard, better with depth; labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (images,), generator=generator)
    ease = torch.rand(images, generator=generator)[:, None, None]
    noise = torch.randn(images, 3, CLASSES, generator=generator)
    signal = F.one_hot(labels, CLASSES)[:, None] * torch.tensor([1.0, 3.0, 5.0])[:, None]
    return 1.5 * (2 * ease * signal + noise), labels


def points_of(calibration):
    return {point.setting: point for point in calibration.points}


def test_every_target_and_curve_becomes_a_point_and_one_is_in_use():
    logits, labels = draw(600, 0)
    found = calibrate("early", how(), logits, labels, [""] * 600, COSTS)
    # Patience over three exits has but one threshold, which may cost more than the curve asks.
    expected = {"full", "budget", "drop", "risk", *CRITERIA} - {"patience"}
    assert set(points_of(found)) - {"patience"} == expected
    assert [point.setting for point in found.points if point.chosen] == ["risk"]
    assert found.deployed.setting == "risk"
    assert (found.fitted, found.certified) == (150, 450)
    table = evaluate_points(
        found.points, {"calibration": (logits, labels)}, found.temperatures, COSTS
    )
    rows = table.set_index("setting")
    assert rows.loc["budget", "gflops"] <= 0.6 * COSTS.full_gflops + 1e-9
    assert rows.loc["full", "accuracy"] - rows.loc["drop", "accuracy"] <= 0.02 + 1e-9


def test_what_certifies_has_no_part_in_the_temperatures_nor_the_other_way_round():
    logits, labels = draw(600, 1)
    groups = [""] * 600
    fitting, certifying = split_calibration(groups, 0.75, 0)
    found = calibrate("early", how(), logits, labels, groups, COSTS)
    spoiled = labels.clone()
    spoiled[certifying] = (labels[certifying] + 1) % CLASSES
    other = calibrate("early", how(), logits, spoiled, groups, COSTS)
    assert torch.equal(other.temperatures, found.temperatures)
    assert points_of(other)["risk"] != points_of(found)["risk"]
    spoiled = labels.clone()
    spoiled[fitting] = (labels[fitting] + 1) % CLASSES
    other = calibrate("early", how(), logits, spoiled, groups, COSTS)
    assert not torch.equal(other.temperatures, found.temperatures)


def test_without_a_promise_every_image_fits_temperatures():
    logits, labels = draw(100, 2)
    targets = {"budget": [0.6], "drop": [0.02], "risk": []}
    found = calibrate(
        "early", how(targets=targets, choose="drop"), logits, labels, [""] * 100, COSTS
    )
    assert (found.fitted, found.certified) == (100, 0)


def test_the_promise_holds_over_draws_of_calibration_images():
    """200 draws through temperatures, thresholds and certificate; the truth from 20,000 images."""
    pool, pool_labels = draw(20_000, 3)
    broken, early = 0, 0
    settings = how(targets={"budget": [], "drop": [], "risk": [{"epsilon": 0.04, "delta": 0.1}]})
    for seed in range(200):
        logits, labels = draw(400, 1000 + seed)
        found = calibrate("early", settings, logits, labels, [""] * 400, COSTS)
        point = found.deployed
        early += point.threshold != NEVER
        everyone = {"test": (pool, pool_labels)}
        rows = evaluate_points(found.points[:2], everyone, found.temperatures, COSTS)
        rows = rows.set_index("setting")
        broken += rows.loc["full", "accuracy"] - rows.loc["risk", "accuracy"] > 0.04
    assert broken / 200 <= 0.1 + 2 * (0.1 * 0.9 / 200) ** 0.5
    assert early >= 150


def test_targets_that_cannot_be_shown_are_refused_before_training():
    check_targets("experiments.early", how(), [""] * 600)
    with pytest.raises(
        DataError, match=r"experiments.early.targets.risk\[0\].epsilon: 0.05 cannot"
    ):
        check_targets("experiments.early", how(), [""] * 82)
    with pytest.raises(DataError, match=r"splits.calibration.fraction: gives 49"):
        check_targets("experiments.early", how(), [""] * 49)
    with pytest.raises(DataError, match=r"with 45 groups of certifying images"):
        check_targets("experiments.early", how(), [f"scan {k // 10}" for k in range(600)])
