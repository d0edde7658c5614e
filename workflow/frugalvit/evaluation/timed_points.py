"""Measured time joined to operating points: which models to time, and where their times go."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from frugalvit.evaluation.cost import COLUMNS as COST_COLUMNS
from frugalvit.methods.early_exit.criteria import NEVER
from frugalvit.methods.early_exit.exiting import Exiting
from frugalvit.methods.tokens.points import token_points
from frugalvit.methods.trained import Model
from frugalvit.models.backbone import backbone_of
from frugalvit.models.flops import vit_flops
from frugalvit.words import OPERATING_POINTS

FULL = "full"


def sample_ids(assignments: pd.DataFrame, limit: int) -> list[str]:
    """At most `limit` test images (validation images where there are none), evenly spaced.

    Spread over the split, in an order that mixes classes and difficulties.
    """
    test = assignments[assignments["split"] == "test"]
    ids = (test if len(test) else assignments[assignments["split"] == "valid"])["id"]
    places = np.linspace(0, len(ids) - 1, min(limit, len(ids))).round().astype(int)
    return ids.iloc[np.random.default_rng(0).permutation(places)].tolist()


@dataclass(frozen=True)
class TimedRun:
    """A run whose points are measured among those of other runs."""

    run: dict[str, Any]  # `experiment`, `run`, `seed`, `method`
    points: pd.DataFrame
    card: dict[str, Any]
    models: list[str]  # names in its table of cost, the plain model's first

    @property
    def columns(self) -> dict[str, Any]:
        """Columns that name the run in tables of points."""
        return {key: self.run[key] for key in ("experiment", "run", "seed", "method")}

    def key(self, model: str) -> tuple:
        """Which measurement serves a model: runs share the plain model of one depth and precision."""
        if model == FULL:
            return FULL, self.card["architecture"]["num_layers"], self.card["precision"]
        return self.run["run"], model


def model_names(points: pd.DataFrame) -> list[str]:
    """How a table of cost calls the model behind each point: points that decide alike share it."""
    return [
        f"{point.setting} {point.value:g}"
        if pd.isna(point.threshold)
        else FULL
        if point.threshold == NEVER
        else f"{point.criterion} >= {point.threshold:.9g}"
        for point in points.itertuples()
    ]


def models_of_run(
    model: Model, points: pd.DataFrame, run: dict[str, Any], temperatures: Sequence[float] | None
) -> dict[str, nn.Module]:
    """The plain model and one model for each operating point that differs from the others.

    Args:
        model: of the run, in evaluation mode.
        points: the run's.
        run: `method` and, where tokens leave, `tokens`: how.
        temperatures: of early exits; None where tokens leave.
    """
    models: dict[str, nn.Module] = {FULL: backbone_of(model)}
    if temperatures is None:
        return models | {
            point.name: point.module for point in token_points(model, run["method"], run["tokens"])
        }
    for name, point in zip(model_names(points), points.itertuples()):
        if name not in models:
            models[name] = Exiting(model, point.criterion, point.threshold, temperatures)
    return models


def rows_of_run(rows: Sequence[dict], run: TimedRun) -> list[dict]:
    """Of the rows that `exit_cost.measure_points` gives for all runs, one run's, by its names."""
    names = {run.key(name): name for name in run.models}
    return [{**row, "model": names[row["model"]]} for row in rows if row["model"] in names]


def cost_table(rows: list[dict], points: pd.DataFrame, card: dict[str, Any]) -> pd.DataFrame:
    """Measured rows as a table of cost: GFLOPs on test images beside them.

    Args:
        rows: of one run.
        points: its operating points.
        card: its card: `architecture` and `precision`.
    """
    split = "test" if (points["split"] == "test").any() else "valid"
    counted = points[points["split"] == split]
    gflops = dict(zip(model_names(counted), counted["gflops"]))
    architecture = card["architecture"]
    gflops[FULL] = vit_flops(architecture, architecture["num_classes"])
    table = pd.DataFrame(rows)
    table["gflops"] = table["model"].map(gflops)
    return table.assign(precision=card["precision"])[COST_COLUMNS]


def with_times(points: pd.DataFrame, costs: pd.DataFrame, throughput_batch: int) -> pd.DataFrame:
    """Operating points with their measured latency (batch 1) and throughput filled in."""
    names = model_names(points)
    single = costs[costs["batch_size"] == 1].set_index("model")
    batched = costs[costs["batch_size"] == throughput_batch].set_index("model")
    timed = points.assign(
        latency_ms=single["latency_ms"].reindex(names).to_numpy(),
        latency_p95_ms=single["latency_p95_ms"].reindex(names).to_numpy(),
        images_per_s=batched["images_per_s"].reindex(names).to_numpy(),
    )
    return timed.reindex(columns=OPERATING_POINTS)
