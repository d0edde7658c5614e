"""Measured time joined to operating points: which models to time, and where their times go."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from frugalvit.evaluation.cost import COLUMNS as COST_COLUMNS
from frugalvit.models.flops import vit_flops
from frugalvit.operating_point import COLUMNS, FULL, points_of


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
    models: list[str]  # `Point.model` of each, the plain model's first

    @property
    def columns(self) -> dict[str, Any]:
        """Columns that name the run in tables of points."""
        return {key: self.run[key] for key in ("experiment", "run", "seed", "method")}

    def key(self, model: str) -> tuple:
        """Which measurement serves a model."""
        if model == FULL:
            return plain_key(self.card["architecture"], self.card["precision"])
        return self.run["run"], model


def plain_key(architecture: Mapping[str, Any], precision: str) -> tuple:
    """Which measurement serves a network without adaptation: all share it of one shape and precision."""
    return FULL, json.dumps(architecture, sort_keys=True), precision


def model_names(points: pd.DataFrame) -> list[str]:
    """How a table of cost calls the model behind each point."""
    return [point.model for point in points_of(points)]


def rows_of_run(rows: Sequence[dict], run: TimedRun) -> list[dict]:
    """Of the rows that `timing.measure_points` gives for all runs, one run's, by its names."""
    names = {run.key(name): name for name in run.models}
    return [{**row, "model": names[row["model"]]} for row in rows if row["model"] in names]


def plain_cost_table(rows: Sequence[dict], key: tuple, name: str, gflops: float) -> pd.DataFrame:
    """Of the rows that `timing.measure_points` gives, those of one plain network as its table of cost.

    Args:
        rows: of all models.
        key: under which it was measured; its precision comes last.
        name: of the model in the table.
        gflops: of the network, per image.
    """
    table = pd.DataFrame([row for row in rows if row["model"] == key])
    return table.assign(model=name, gflops=gflops, precision=key[-1])[COST_COLUMNS]


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
    """Operating points with what was measured: latency (batch 1), throughput, parameters."""
    names = model_names(points)
    single = costs[costs["batch_size"] == 1].set_index("model")
    batched = costs[costs["batch_size"] == throughput_batch].set_index("model")
    timed = points.assign(
        latency_ms=single["latency_ms"].reindex(names).to_numpy(),
        latency_p95_ms=single["latency_p95_ms"].reindex(names).to_numpy(),
        images_per_s=batched["images_per_s"].reindex(names).to_numpy(),
        params_m=single["params_m"].reindex(names).to_numpy(),
    )
    return timed.reindex(columns=COLUMNS)
