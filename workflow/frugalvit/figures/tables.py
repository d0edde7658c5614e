"""Reading the workflow's CSVs for the figures, with errors that name the file."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from frugalvit.checksums import check_noted
from frugalvit.errors import DataError
from frugalvit.figures.style import DASH
from frugalvit.words import SPLIT_NAMES

TEXT_COLUMNS = (
    "id",
    "run",
    "experiment",
    "study",
    "class_name",
    "split",
    "train",
    "device",
    "image",
    "predicted_name",
    "depths",
    "box",
)
ASSIGNMENTS = ("id", "split", "label", "class_name")  # of assignments.csv
DEVICES = ("experiment", "device")  # of summary.csv


def read_table(
    path: str | Path, columns: Sequence[str], may_be_empty: bool = False
) -> pd.DataFrame:
    """Read a CSV and check its columns; only an empty field is a missing value.

    Raises:
        DataError: the file is missing, unreadable, lacks a column or (unless allowed) has no rows.
    """
    check_noted(path)
    try:
        # A class may be called "None" or "1", so pandas must not guess.
        table = pd.read_csv(
            path, keep_default_na=False, na_values=[""], dtype=dict.fromkeys(TEXT_COLUMNS, str)
        )
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; make it with `snakemake {path}`") from None
    except (ValueError, OSError) as error:  # pandas' own errors are ValueErrors
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: not a readable CSV ({reason}); delete it and rerun") from None
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise DataError(f"{path}: column {', '.join(missing)} is missing; delete it and rerun")
    if table.empty and not may_be_empty:
        raise DataError(f"{path}: the table has no rows; delete it and rerun")
    return table


def read_runs(
    paths: Iterable[str | Path], columns: Sequence[str], may_be_empty: bool = False
) -> pd.DataFrame:
    """One table of several runs' CSVs, with the columns `run` and `seed` added.

    The run's id is the name of the folder that holds the file (`runs/{run}/history.csv`).

    Raises:
        DataError: as `read_table`, or a folder's name does not end in `-s{seed}`.
    """
    tables = []
    for path in map(Path, paths):
        table = read_table(path, columns, may_be_empty)
        match = re.search(r"-s(\d+)$", path.parent.name)
        if match is None:
            raise DataError(f"{path}: folder {path.parent.name} is no run id; it ends in -s<seed>")
        tables.append(table.assign(run=path.parent.name, seed=int(match[1])))
    # Empty tables would turn the other tables' columns into objects.
    filled = [table for table in tables if not table.empty]
    return pd.concat(filled, ignore_index=True) if filled else tables[0]


def class_names(assignments: pd.DataFrame) -> list[str]:
    """Names of the classes 0, 1, … in the order of their labels."""
    names = dict(zip(assignments["label"], assignments["class_name"].fillna("")))
    last = int(assignments["label"].max())
    return [names.get(label, "") or f"class {label}" for label in range(last + 1)]


def check_labels(predictions: pd.DataFrame, names: list[str]) -> None:
    """Check that every label and prediction has a name.

    Raises:
        DataError: predictions are of another set of classes than the assignments.
    """
    highest = int(predictions[["label", "predicted"]].max().max())
    if highest >= len(names):
        run = predictions["run"].iloc[0]
        raise DataError(
            f"runs/{run}/predictions.csv: class {highest} is unknown to assignments.csv, which has"
            f" {len(names)} classes; delete the run and rerun"
        )


def shown_split(predictions: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """The test images' predictions, or the validation images' where there are no test images."""
    for split in ("test", "valid"):
        chosen = predictions[predictions["split"] == split]
        if len(chosen):
            return split, chosen
    return "test", predictions.iloc[:0]


def device_of(summary: pd.DataFrame, experiment: str) -> str:
    """Devices that an experiment's runs were measured on, or an empty text if none is recorded."""
    devices = summary.loc[summary["experiment"] == experiment, "device"].dropna().unique()
    return ", ".join(sorted(devices))


def images_text(count: int, split: str) -> str:
    """'1,020 test images'."""
    return f"{count:,} {SPLIT_NAMES.get(split, split)} image{'' if count == 1 else 's'}"


def seeds_text(seeds: Iterable[int]) -> str:
    """'3 seeds (0, 1, 2)' or '1 seed (0)'."""
    listed = sorted({int(seed) for seed in seeds})
    if len(listed) == 1:
        return f"1 seed ({listed[0]})"
    return f"{len(listed)} seeds ({', '.join(map(str, listed))})"


def percent(values: Iterable[float], digits: int = 1) -> str:
    """'91.3 ± 0.4 %': mean and standard deviation (n - 1) of fractions; one value has no spread."""
    series = pd.Series(list(values), dtype=float).dropna() * 100
    if series.empty:
        return DASH
    spread = f" ± {series.std():.{digits}f}" if len(series) > 1 else ""
    return f"{series.mean():.{digits}f}{spread} %"


def lowest_seed(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the run with the lowest seed."""
    return table[table["seed"] == table["seed"].min()]


def subtitle(*parts: str) -> str:
    """Join the parts that are not empty: 'digits · 3 seeds (0, 1, 2) · cpu'."""
    return " · ".join(part for part in parts if part)
