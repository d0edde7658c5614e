"""Operating points of a model with early exits: which there are, and what each gives.

Points are chosen on calibration images and evaluated on every split, from logits alone; measured
times come from `evaluation.exit_cost`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_f1_score

from frugalvit.methods.early_exit.calibration import (
    for_budget,
    for_drop,
    least_gflops,
)
from frugalvit.methods.early_exit.criteria import (
    NEVER,
    decide,
    first_exits,
    log_probabilities,
    score_exits,
)
from frugalvit.methods.early_exit.risk import Certificate
from frugalvit.words import OPERATING_POINTS

EVALUATED = OPERATING_POINTS[4:]


@dataclass(frozen=True)
class Costs:
    """What leaving costs: `blocks` gone through and `gflops` at each exit, ascending.

    `full_gflops` are the plain model's, which asks no exit.
    """

    blocks: Sequence[int]
    gflops: Sequence[float]
    full_gflops: float


@dataclass(frozen=True)
class Point:
    """One operating point.

    `setting` and `value` say what was aimed at (see `curve_points`, `budget_point`, `drop_point`,
    `risk_point`), `criterion` and `threshold` what does it; a threshold of `NEVER` is the plain
    model. `chosen` marks the deployed point.
    """

    setting: str
    value: float | None
    criterion: str
    threshold: float
    note: str = ""
    chosen: bool = False


def full_point(criterion: str) -> Point:
    """The full model, which no image leaves early."""
    return Point("full", None, criterion, NEVER)


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
    """At most `share` of the full model's GFLOPs on calibration images; arguments as above.

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
    """The point that a certificate from `inference.risk` allows.

    The full model, which loses nothing, where that is cheaper on calibration images; other
    arguments as above.
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


def evaluate_points(
    points: Sequence[Point],
    splits: Mapping[str, tuple[Tensor, Tensor]],
    temperatures: Sequence[float] | Tensor,
    costs: Costs,
) -> pd.DataFrame:
    """One row a point and split, with the columns `EVALUATED`; measured times are left empty.

    Args:
        points: to evaluate.
        splits: logits `[images, exits, classes]` and labels `[images]` of each split by its name.
        temperatures: one an exit.
        costs: of the exits.
    """
    rows = []
    for split, (logits, labels) in splits.items():
        scored = {
            criterion: score_exits(logits, temperatures, criterion)
            for criterion in {point.criterion for point in points}
        }
        for point in points:
            if point.threshold == NEVER:
                exits = torch.full((len(labels),), len(costs.blocks) - 1)
                answers = log_probabilities(logits[:, -1], float(temperatures[-1]))
            else:
                scores, all_answers = scored[point.criterion]
                exits = first_exits(scores, point.threshold)
                answers = all_answers[torch.arange(len(exits)), exits]
            rows.append(
                {
                    "setting": point.setting,
                    "value": point.value,
                    "split": split,
                    **_quality(answers, labels),
                    **_cost(exits, point.threshold, costs),
                    "criterion": point.criterion,
                    "threshold": point.threshold,
                    "chosen": point.chosen,
                    "note": point.note,
                }
            )
    return pd.DataFrame(rows, columns=EVALUATED)


def _quality(answers: Tensor, labels: Tensor) -> dict:
    classes = answers.shape[1]
    return {
        "n": len(labels),
        "accuracy": (answers.argmax(dim=1) == labels).double().mean().item(),
        "macro_f1": multiclass_f1_score(answers.exp(), labels, classes, average="macro").item(),
    }


def _cost(exits: Tensor, threshold: float, costs: Costs) -> dict:
    histogram = exits.bincount(minlength=len(costs.blocks))
    gflops = torch.tensor(costs.gflops, dtype=torch.float64)
    mean = costs.full_gflops if threshold == NEVER else gflops[exits].mean().item()
    return {
        "gflops": mean,
        "mean_depth": torch.tensor(costs.blocks)[exits].double().mean().item(),
        "exit_histogram": " ".join(map(str, histogram.tolist())),
    }
