"""Operating points: the one type, the one way to name them, the one reader of their tables.

An operating point is one setting of a model (a threshold, a number of merged tokens) with its
accuracy and its measured cost.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from frugalvit.files import read_csv

COLUMNS = [
    "experiment", "run", "seed", "method", "setting", "value", "split", "n", "accuracy",
    "macro_f1", "gflops", "latency_ms", "images_per_s", "mean_depth", "exit_histogram",
    "criterion", "threshold", "latency_p95_ms", "chosen", "note", "params_m",
]  # fmt: skip
# What an evaluation knows of a point; which run it is of, and its times, are joined later.
EVALUATED = COLUMNS[4:]
FULL = "full"  # the plain model, whatever adapts it: a setting, and its name in tables of cost
NEVER = math.inf  # a threshold that no score reaches: the plain model


@dataclass(frozen=True)
class Point:
    """One setting of an adaptive model.

    Attributes:
        setting: what was aimed at or set: `budget`, `r`, `packed` …
        value: of the setting; None for one that has none, such as `full`.
        criterion: that decides when an image leaves; None where no image leaves early.
        threshold: of that criterion; `NEVER` is the plain model.
        note: what a reader should know of it.
        chosen: whether it is the one in use.
    """

    setting: str
    value: float | None = None
    criterion: str | None = None
    threshold: float | None = None
    note: str = ""
    chosen: bool = False

    @property
    def name(self) -> str:
        """How people read it: `budget 0.5`, `r 4`, `full`."""
        return self.setting if self.value is None else f"{self.setting} {self.value:g}"

    @property
    def model(self) -> str:
        """How tables of cost call the model behind it: points that decide alike share one."""
        if self.threshold is None:
            return self.name
        if self.threshold == NEVER:
            return FULL
        return f"{self.criterion} >= {self.threshold:.9g}"

    @property
    def rule(self) -> tuple[str, float]:
        """Criterion and threshold of a point of early exits, which always has both."""
        assert self.criterion is not None and self.threshold is not None
        return self.criterion, self.threshold

    @property
    def of_curve(self) -> bool:
        """Whether it is one of a criterion's thresholds that figures join, and no target."""
        return self.setting == self.criterion

    @property
    def columns(self) -> dict[str, Any]:
        """The columns of `EVALUATED`: the point's own filled, the others None."""
        return dict.fromkeys(EVALUATED) | {
            "setting": self.setting,
            "value": self.value,
            "criterion": self.criterion,
            "threshold": self.threshold,
            "chosen": self.chosen,
            "note": self.note,
        }


def point_of(row: Mapping[str, Any]) -> Point:
    """The point of a table's row; an absent or empty field is None."""

    def known(key: str) -> Any:
        value = row.get(key)
        return None if value is None or pd.isna(value) else value

    return Point(
        setting=row["setting"],
        value=known("value"),
        criterion=known("criterion"),
        threshold=known("threshold"),
        note=known("note") or "",
        chosen=str(known("chosen")).lower() in ("true", "1", "1.0"),  # a CSV's may come as text
    )


def points_of(table: pd.DataFrame) -> list[Point]:
    """The point of each row."""
    return [point_of(row) for row in table.to_dict("records")]


def is_chosen(table: pd.DataFrame) -> pd.Series:
    """Whether each row is of the point in use."""
    return pd.Series([point.chosen for point in points_of(table)], index=table.index, dtype=bool)


def read_points(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Operating points of several runs as one table with `COLUMNS`; no rows without files."""
    tables = [read_csv(path) for path in paths]
    return pd.concat(tables) if tables else pd.DataFrame(columns=COLUMNS)
