"""Temperatures and thresholds of early exits, fitted on calibration images only.

Temperatures follow Guo et al. 2017, section 4.2. A threshold is chosen for a compute budget or for
an accuracy drop as the calibration images show it; `risk` is what promises anything for
other images.
"""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from torch import Tensor

from frugalvit.methods.early_exit.criteria import LEAST_PATIENCE
from frugalvit.operating_point import NEVER

COLDEST, HOTTEST = 0.05, 20.0


def fit_temperatures(logits: Tensor, labels: Tensor) -> Tensor:
    """The temperature of each exit that minimises its cross-entropy, between 0.05 and 20.

    Cross-entropy is convex in the inverse temperature, so that a bounded search over log T finds
    the one minimum. An exit whose answer no temperature improves keeps 1.

    Args:
        logits: `[images, exits, classes]`.
        labels: `[images]`.

    Returns:
        `[exits]`, float64.
    """
    classes = labels.cpu().numpy()
    fitted = [_fit(one, classes) for one in logits.double().cpu().numpy().swapaxes(0, 1)]
    return torch.tensor(fitted, dtype=torch.float64)


def _fit(logits: np.ndarray, labels: np.ndarray) -> float:
    margins = logits - logits[np.arange(len(labels)), labels, None]  # stays exact for sure answers

    def loss(log_temperature: float) -> float:
        return logsumexp(margins * np.exp(-log_temperature), axis=1).mean()

    bounds = (np.log(COLDEST), np.log(HOTTEST))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x)) if found.fun < loss(0.0) else 1.0


def threshold_curve(scores: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over images of what each gives where it leaves, at every threshold that matters.

    Lowering the threshold past a score moves one image from one exit to an earlier one, so the
    whole curve is a cumulative sum of differences.

    Args:
        scores: `[images, exits]`.
        values: of an image that leaves at an exit, `[images, exits]` or `[exits]`.

    Returns:
        Distinct thresholds `[thresholds]`, descending, and the mean at each, float64.
    """
    values = values.double().expand(scores.shape)
    reached = scores[:, :-1].cummax(dim=1).values.flatten()
    changes = (values[:, :-1] - values[:, 1:]).flatten()
    order = reached.argsort(descending=True)
    thresholds, counts = reached[order].unique_consecutive(return_counts=True)
    sums = changes[order].cumsum(dim=0)[counts.cumsum(dim=0) - 1]
    return thresholds, (values[:, -1].sum() + sums) / len(scores)


def for_budget(
    scores: Tensor, criterion: str, gflops: Sequence[float], full_gflops: float, share: float
) -> float:
    """The largest threshold whose mean cost is at most `share` of the full model's.

    Args:
        scores: of calibration images, `[images, exits]`.
        criterion: that made the scores.
        gflops: of an image that leaves at each exit, ascending.
        full_gflops: of the plain model.
        share: of `full_gflops`.

    Returns:
        `NEVER` where the full model fits; where nothing fits, too: ask `least_gflops` first.
    """
    budget = share * full_gflops * (1 + 1e-9)
    if full_gflops <= budget:
        return NEVER
    thresholds, cost = threshold_curve(scores, torch.tensor(gflops, dtype=torch.float64))
    fits = (cost <= budget) & _allowed(thresholds, criterion)
    return _between(thresholds, int(fits.int().argmax()), criterion) if fits.any() else NEVER


def least_gflops(scores: Tensor, criterion: str, gflops: Sequence[float]) -> float:
    """Mean GFLOPs at the lowest threshold of a criterion: no budget below can be kept."""
    thresholds, cost = threshold_curve(scores, torch.tensor(gflops, dtype=torch.float64))
    return min([*cost[_allowed(thresholds, criterion)].tolist(), gflops[-1]])


def for_drop(
    scores: Tensor,
    criterion: str,
    right: Tensor,
    full_right: Tensor,
    drop: float,
    gflops: Sequence[float],
    full_gflops: float,
) -> float:
    """The cheapest threshold whose accuracy is at most `drop` below the full model's.

    Args:
        scores: of calibration images, `[images, exits]`.
        criterion: that made the scores.
        right: whether the criterion's answer at each exit is right, `[images, exits]`.
        full_right: whether the plain model's answer is, `[images]`.
        drop: of accuracy; 0.01 is one point.
        gflops: of an image that leaves at each exit, ascending.
        full_gflops: of the plain model.

    Returns:
        `NEVER` where no threshold does that costs less than the plain model, which asks no exit.
    """
    thresholds, accuracy = threshold_curve(scores, right)
    _, cost = threshold_curve(scores, torch.tensor(gflops, dtype=torch.float64))
    kept = accuracy >= full_right.double().mean() - drop - 1e-9
    passing = (kept & (cost < full_gflops) & _allowed(thresholds, criterion)).nonzero()
    return _between(thresholds, int(passing[-1]), criterion) if len(passing) else NEVER


def _allowed(thresholds: Tensor, criterion: str) -> Tensor:
    if criterion == "patience":
        return thresholds >= LEAST_PATIENCE
    return torch.ones_like(thresholds, dtype=torch.bool)


def _between(thresholds: Tensor, position: int, criterion: str) -> float:
    """A threshold that decides as `thresholds[position]` does, away from any observed score.

    Rounding differs between batch sizes: on an observed score, it would turn decisions.
    """
    upper = thresholds[position]
    if criterion == "patience":
        return upper.item()
    lower = thresholds[position + 1] if position + 1 < len(thresholds) else torch.zeros(())
    middle = (upper + lower) / 2
    return (middle if middle > lower else upper).item()
