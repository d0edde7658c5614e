"""From an experiment's targets to operating points, on calibration images only."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from frugalvit.methods.early_exit.calibration import fit_temperatures
from frugalvit.methods.early_exit.choosing import (
    Costs,
    budget_point,
    correctness,
    curve_points,
    drop_point,
    full_point,
    risk_point,
)
from frugalvit.methods.early_exit.criteria import CRITERIA, score_exits
from frugalvit.methods.early_exit.enough import certify_share, risk_key, split_calibration
from frugalvit.methods.early_exit.risk import certify, threshold_grid
from frugalvit.operating_point import Point


@dataclass(frozen=True)
class Calibration:
    """What the calibration images gave."""

    temperatures: Tensor  # [exits]
    points: list[Point]  # targets and curves, the deployed one marked
    fitted: int  # images that fitted the temperatures
    certified: int  # images that certified risk

    @property
    def deployed(self) -> Point:
        """The point in use."""
        return next(point for point in self.points if point.chosen)


def calibrate(
    experiment: str,
    how: dict,
    logits: Tensor,
    labels: Tensor,
    groups: Sequence[str],
    costs: Costs,
) -> Calibration:
    """Fit temperatures and choose a threshold for every target and every point of the curves.

    Args:
        experiment: its name, for messages.
        how: its `exits` settings: criterion, calibration, targets, choose, curve.
        logits: of calibration images, `[images, exits, classes]`.
        labels: theirs, `[images]`.
        groups: theirs; empty for an image on its own.
        costs: of the exits.

    Raises:
        TooFewImages: as `enough.check_targets`.
    """
    seed = how["calibration"]["seed"]
    fitting, certifying = split_calibration(groups, certify_share(how), seed)
    temperatures = fit_temperatures(logits[fitting], labels[fitting])
    criterion, targets = how["criterion"], how["targets"]
    points = [full_point(criterion)]
    for share in targets["budget"]:
        points.append(budget_point(share, criterion, logits, temperatures, costs))
    for drop in targets["drop"]:
        points.append(drop_point(drop, criterion, logits, labels, temperatures, costs))
    kept = (logits[certifying], labels[certifying])
    if targets["risk"]:
        scores, _ = score_exits(kept[0], temperatures, criterion)
        right, full_right = correctness(*kept, temperatures, criterion)
    for index, target in enumerate(targets["risk"]):
        certificate = certify(
            scores,
            right,
            full_right,
            [groups[place] for place in certifying],
            target["epsilon"],
            target["delta"],
            threshold_grid(criterion, len(costs.blocks)),
            seed,
            key=risk_key(f"experiments.{experiment}", index),
        )
        points.append(risk_point(certificate, criterion, logits, temperatures, costs))
    deployed = next(place for place, point in enumerate(points) if point.setting == how["choose"])
    points[deployed] = replace(points[deployed], chosen=True)
    for each in CRITERIA:
        points += curve_points(each, how["curve"], logits, temperatures, costs)
    return Calibration(torch.as_tensor(temperatures), points, len(fitting), len(certifying))
