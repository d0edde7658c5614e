"""Operating points of a model with early exits: which there are.

They are chosen on calibration images, from logits only. A threshold of `NEVER` is the plain model.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from frugalvit.methods.early_exit.calibration import for_budget, for_drop, least_gflops
from frugalvit.methods.early_exit.criteria import decide, score_exits
from frugalvit.methods.early_exit.risk import Certificate
from frugalvit.operating_point import FULL, NEVER, Point


@dataclass(frozen=True)
class Costs:
    """What leaving costs: `blocks` gone through and `gflops` at each exit, ascending.

    `full_gflops` are the plain model's, which asks no exit.
    """

    blocks: Sequence[int]
    gflops: Sequence[float]
    full_gflops: float


def full_point(criterion: str) -> Point:
    """The full model, which no image leaves early."""
    return Point(FULL, None, criterion, NEVER)


def curve_points(
    criterion: str,
    shares: Sequence[float],
    logits: Tensor,
    temperatures: Sequence[float] | Tensor,
    costs: Costs,
) -> list[Point]:
    """A criterion's curve: one point for each share of the full model's GFLOPs that it can keep.

    Shares that lead to the same threshold give one point, so `patience` has as many as it can.

    Args:
        criterion: one of `CRITERIA`; the points' `setting`.
        shares: aimed at on the calibration images; the points' `value`.
        logits: of calibration images, `[images, exits, classes]`.
        temperatures: one an exit.
        costs: of the exits.
    """
    scores, _ = score_exits(logits, temperatures, criterion)
    points: dict[float, Point] = {}
    for share in sorted(shares):
        threshold = for_budget(scores, criterion, costs.gflops, costs.full_gflops, share)
        if threshold != NEVER:
            points.setdefault(threshold, Point(criterion, share, criterion, threshold))
    return list(points.values())


def budget_point(
    share: float,
    criterion: str,
    logits: Tensor,
    temperatures: Sequence[float] | Tensor,
    costs: Costs,
) -> Point:
    """The point that costs at most `share` of the full model's GFLOPs on calibration images.

    Other arguments are those of `curve_points`.

    The full model, with a note, where no threshold is that cheap.
    """
    scores, _ = score_exits(logits, temperatures, criterion)
    threshold = for_budget(scores, criterion, costs.gflops, costs.full_gflops, share)
    note = ""
    if threshold == NEVER and share < 1:
        least = least_gflops(scores, criterion, costs.gflops) / costs.full_gflops
        note = (
            f"no threshold of {criterion} costs {share:g} of the full model's GFLOPs or less "
            f"(least: {least:.2f}): the full model is used"
        )
    return Point("budget", share, criterion, threshold, note)


def drop_point(
    drop: float,
    criterion: str,
    logits: Tensor,
    labels: Tensor,
    temperatures: Sequence[float] | Tensor,
    costs: Costs,
) -> Point:
    """The cheapest point at most `drop` below the full model's accuracy on calibration images.

    The full model, with a note, where no threshold does.

    Args:
        drop: of accuracy; 0.01 is one point.
        criterion: one of `CRITERIA`.
        logits: of calibration images, `[images, exits, classes]`.
        labels: theirs, `[images]`.
        temperatures: one an exit.
        costs: of the exits.
    """
    scores, _ = score_exits(logits, temperatures, criterion)
    right, full_right = correctness(logits, labels, temperatures, criterion)
    cost = (costs.gflops, costs.full_gflops)
    threshold = for_drop(scores, criterion, right, full_right, drop, *cost)
    note = ""
    if threshold == NEVER:
        note = (
            f"every threshold of {criterion} that costs less than the full model loses more than "
            f"{drop:g} on the calibration images: the full model is used"
        )
    return Point("drop", drop, criterion, threshold, note)


def risk_point(
    certificate: Certificate,
    criterion: str,
    logits: Tensor,
    temperatures: Sequence[float] | Tensor,
    costs: Costs,
) -> Point:
    """The point that a certificate from `risk` allows.

    The full model, which loses nothing, where that is cheaper on calibration images. Other
    arguments are those of `drop_point`.
    """
    if certificate.threshold != NEVER:
        left, _ = decide(logits, temperatures, criterion, certificate.threshold)
        mean = torch.tensor(costs.gflops, dtype=torch.float64)[left].mean().item()
        if mean >= costs.full_gflops:
            note = (
                f"what a drop of at most {certificate.epsilon:g} allows costs as much as the full "
                "model, which is used"
            )
            return Point("risk", certificate.epsilon, criterion, NEVER, note)
    note = certificate.note or (
        f"drop at most {certificate.epsilon:g} with probability {1 - certificate.delta:g}, shown "
        f"on n = {certificate.n} (p = {certificate.p_value:.2g})"
    )
    return Point("risk", certificate.epsilon, criterion, certificate.threshold, note)


def correctness(
    logits: Tensor, labels: Tensor, temperatures: Sequence[float] | Tensor, criterion: str
) -> tuple[Tensor, Tensor]:
    """Whether a criterion's answer is right at each exit, `[images, exits]`, and the plain model's.

    The plain model's `[images]` differ from the last exit's only where that is an ensemble.
    """
    _, answers = score_exits(logits, temperatures, criterion)
    right = answers.argmax(dim=2) == labels[:, None]
    return right, logits[:, -1].argmax(dim=1) == labels
