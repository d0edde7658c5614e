"""Measured time joined to operating points: which models to time, and where their times go."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from torch import nn

from frugalvit.columns import OPERATING_POINTS
from frugalvit.evaluation.cost import COLUMNS as COST_COLUMNS
from frugalvit.inference.criteria import NEVER
from frugalvit.inference.exiting import Exiting
from frugalvit.models.exits import EarlyExits

FULL = "full"


def sample_ids(assignments: pd.DataFrame, limit: int) -> list[str]:
    """At most `limit` test images (validation images where there are none), evenly spaced.

    Spread over the split, in an order that mixes classes and difficulties.
    """
    test = assignments[assignments["split"] == "test"]
    ids = (test if len(test) else assignments[assignments["split"] == "valid"])["id"]
    places = np.linspace(0, len(ids) - 1, min(limit, len(ids))).round().astype(int)
    return ids.iloc[np.random.default_rng(0).permutation(places)].tolist()


def model_name(criterion: str, threshold: float) -> str:
    """How a cost table calls a model at an operating point: points that decide alike share it."""
    return FULL if threshold == NEVER else f"{criterion} >= {threshold:.9g}"


def models_of_points(
    model: EarlyExits, points: pd.DataFrame, temperatures: Sequence[float]
) -> dict[str, nn.Module]:
    """The plain model and one model for each operating point that differs from the others."""
    models: dict[str, nn.Module] = {FULL: model.backbone}
    for point in points.drop_duplicates(["criterion", "threshold"]).itertuples():
        if point.threshold != NEVER:
            name = model_name(point.criterion, point.threshold)
            models[name] = Exiting(model, point.criterion, point.threshold, temperatures)
    return models


def cost_table(rows: list[dict], points: pd.DataFrame, precision: str) -> pd.DataFrame:
    """Measured rows as a cost table: GFLOPs on test images beside them.

    Args:
        rows: of `exit_cost.measure_points`.
        points: operating points, with `criterion, threshold, split, gflops`.
        precision: of the measurement.
    """
    split = "test" if (points["split"] == "test").any() else "valid"
    counted = points[points["split"] == split]
    names = [model_name(row.criterion, row.threshold) for row in counted.itertuples()]
    gflops = dict(zip(names, counted["gflops"]))
    table = pd.DataFrame(rows)
    table["gflops"] = table["model"].map(gflops)
    return table.assign(precision=precision)[COST_COLUMNS]


def with_times(points: pd.DataFrame, costs: pd.DataFrame, throughput_batch: int) -> pd.DataFrame:
    """Operating points with their measured latency (batch 1) and throughput filled in."""
    names = [model_name(row.criterion, row.threshold) for row in points.itertuples()]
    single = costs[costs["batch_size"] == 1].set_index("model")
    batched = costs[costs["batch_size"] == throughput_batch].set_index("model")
    timed = points.assign(
        latency_ms=single["latency_ms"].reindex(names).to_numpy(),
        latency_p95_ms=single["latency_p95_ms"].reindex(names).to_numpy(),
        images_per_s=batched["images_per_s"].reindex(names).to_numpy(),
    )
    return timed.reindex(columns=OPERATING_POINTS)
