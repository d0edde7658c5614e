"""Made-up results of a study with the columns of the real CSVs, for the figure tests."""

import base64
import importlib.util
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from frugalvit.figures.figure import Figure
from frugalvit.figures.inputs import TABLES, of_method

SCRIPT = Path(__file__).resolve().parents[1] / "workflow" / "scripts" / "plot.py"
SPLITS = ("train", "valid", "test")


def png(generator: np.random.Generator, size: int = 24) -> str:
    """A random image as the base64 PNG of `thumbnails.csv`."""
    buffer = io.BytesIO()
    pixels = generator.integers(0, 255, (size, size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def assignments(names: list[str], counts: tuple[int, int, int]) -> pd.DataFrame:
    """`assignments.csv` with `counts` images a class in train, valid and test."""
    rows = [
        (split, label, names[label])
        for split, count in zip(SPLITS, counts)
        for label in range(len(names))
        for _ in range(count)
    ]
    table = pd.DataFrame(rows, columns=["split", "label", "class_name"])
    table.insert(0, "id", [f"{row.split}-{row.Index:06d}" for row in table.itertuples()])
    return table.assign(source_split=table["split"])


def history(seed: int, phases: list[tuple[str, int]], stop: int | None = None) -> pd.DataFrame:
    """`history.csv` of phases (train, epochs); `stop` ends the first phase after that epoch."""
    generator = np.random.default_rng(seed)
    rows = []
    for number, (train, epochs) in enumerate(phases, start=1):
        length = stop if stop and number == 1 else epochs
        rows += [(number, train, number + epoch / epochs) for epoch in range(1, length + 1)]
    table = pd.DataFrame(rows, columns=["phase", "train", "progress"])
    noise = generator.normal(0, 0.012, (2, len(table)))
    table["train_loss"] = 2.2 * np.exp(-1.1 * table["progress"]) + 0.05 + np.abs(noise[0])
    table["valid_loss"] = 2.1 * np.exp(-0.9 * table["progress"]) + 0.3 + noise[1]
    table["train_accuracy"] = 1 - 0.9 * np.exp(-table["progress"]) + noise[0]
    table["valid_accuracy"] = 0.93 - 0.8 * np.exp(-table["progress"]) + noise[1]
    table.insert(0, "epoch", range(1, len(table) + 1))
    return table.drop(columns="progress").assign(lr=0.001, seconds=1.0)


def predictions(table: pd.DataFrame, seed: int, accuracy: float) -> pd.DataFrame:
    """`predictions.csv` for the valid and test rows of assignments; mistakes fall nearby."""
    generator = np.random.default_rng(100 + seed)
    rows = table[table["split"] != "train"][["id", "split", "label"]].reset_index(drop=True)
    classes = int(table["label"].max()) + 1
    wrong = generator.random(len(rows)) >= accuracy
    shift = 1 + generator.geometric(0.55, len(rows)) % max(classes - 1, 1)
    predicted = np.where(wrong, (rows["label"] + shift) % classes, rows["label"])
    sure = np.where(wrong, generator.beta(4, 3, len(rows)), generator.beta(9, 1.2, len(rows)))
    return rows.assign(predicted=predicted, probability=np.clip(sure, 1 / classes, 1))


def thumbnails(table: pd.DataFrame, count: int = 24) -> pd.DataFrame:
    """`thumbnails.csv` of the surest test mistakes in predictions."""
    generator = np.random.default_rng(7)
    wrong = table[(table["label"] != table["predicted"]) & (table["split"] == "test")]
    surest = wrong.sort_values("probability", ascending=False).head(count)
    return surest.assign(image=[png(generator) for _ in range(len(surest))])


def summary(experiments: dict[str, float], seeds: list[int], test: bool = True) -> pd.DataFrame:
    """`summary.csv` with an accuracy around the given one for every experiment and seed."""
    generator = np.random.default_rng(3)
    rows = [
        (
            name,
            f"{name}-s{seed}",
            seed,
            split,
            mean + generator.normal(0, 0.006) + shift,
            9 + 60 * mean,
        )
        for name, mean in experiments.items()
        for seed in seeds
        for split, shift in (("valid", 0.02), ("test", 0.0))
        if test or split == "valid"
    ]
    columns = ["experiment", "run", "seed", "split", "accuracy", "train_seconds"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(study="digits", method="fine_tune", n=1000, device="cpu", selected="")


def grid(keys: dict[str, list], seeds: int = 1) -> pd.DataFrame:
    """`grid/{experiment}.csv` over the product of the keys' values."""
    generator = np.random.default_rng(5)
    points = pd.MultiIndex.from_product(keys.values(), names=list(keys)).to_frame(index=False)
    accuracy = generator.uniform(0.6, 0.93, len(points))
    runs = [
        " ".join(f"searched-g{point:02d}-s{seed}" for seed in range(seeds))
        for point in range(len(points))
    ]
    points = points.assign(runs=runs, seeds=seeds, valid_accuracy=accuracy)
    points["valid_accuracy_std"] = generator.uniform(0, 0.02, len(points)) if seeds > 1 else np.nan
    points["selected"] = accuracy == accuracy.max()
    points.insert(0, "point", range(len(points)))
    return points


def run_job(
    figures: Iterable[Figure],
    results: Path,
    *,
    runs: Sequence[str],
    experiment: str = "",
    splits: str = "",
    options: Mapping[str, Any] | None = None,
    own: Mapping[str, str] | None = None,
) -> list[Path]:
    """Draw figures as their rule does, from the files in a study's results; returns what was drawn.

    `own` are the tables of the figures' method, by name.
    """
    figures = list(figures)
    files: dict[str, Any] = {}
    for name in dict.fromkeys(name for figure in figures for name in figure.needs):
        table = TABLES.get(name) or of_method((own or {})[name])
        paths = [
            results
            / table.path.format(run=run, splits=splits, experiment=experiment, probes="probes")
            for run in (runs if table.of_runs else runs[:1])
        ]
        files[name] = paths if table.of_runs else paths[0]
    outputs = {
        figure.name: [results / figure.page.format(splits=splits)]
        if figure.page
        else [results / f"figures/{figure.name}.{kind}" for kind in ("svg", "png")]
        for figure in figures
    }
    told = {figure.name: {"module": figure.module, "needs": figure.needs} for figure in figures}
    page = {"width_mm": 170, "dpi": 80}
    params = {"study": "made_up", "page": page, "figures": told, "options": options}
    spec = importlib.util.spec_from_file_location("plot", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.main(
        SimpleNamespace(
            input=files,
            output=outputs,
            params=SimpleNamespace(**params),
            wildcards={"experiment": experiment, "splits": splits},
        )
    )
    return [path for paths in outputs.values() for path in paths]
