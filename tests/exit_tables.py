"""Made-up results of early-exit runs with the columns of the real CSVs, for the figure tests."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tests import figure_tables as made

TARGETS = {
    "budget": [0.5, 0.75],
    "drop": [0.01],
    "risk": [{"epsilon": 0.02, "delta": 0.1}, {"epsilon": 0.05, "delta": 0.05}],
}
SPLITS = ("calibration", "valid", "test")
# How far a criterion's curve bends from the first one's: little, as in life.
BEND = {"confidence": 0.0, "entropy": 0.002, "margin": -0.003, "ensemble": 0.012, "patience": -0.03}


@dataclass(frozen=True)
class Model:
    """A made-up model: blocks with an exit, accuracy of the first and the last, cost of the last."""

    blocks: list[int]
    worst: float = 0.3
    best: float = 0.95
    gflops: float = 4.6
    n: int = 360

    def accuracy(self, depth: np.ndarray | float) -> np.ndarray | float:
        """Accuracy at a depth in blocks."""
        progress = (depth - 1) / max(self.blocks[-1] - 1, 1)
        return self.best - (self.best - self.worst) * (1 - progress) ** 2.5

    def cost(self, depth: np.ndarray | float) -> np.ndarray | float:
        """GFLOPs of an image that leaves at a depth."""
        return self.gflops * (depth + 0.2) / (self.blocks[-1] + 0.2)


def exits(model: Model, seed: int) -> pd.DataFrame:
    """`exits.csv` of one run."""
    generator = np.random.default_rng(seed)
    blocks = np.array(model.blocks)
    tables = []
    for split in SPLITS:
        accuracy = np.clip(model.accuracy(blocks) + generator.normal(0, 0.008, len(blocks)), 0, 1)
        ece = 0.02 + 0.1 * np.exp(-((blocks - blocks[-1] * 0.4) ** 2) / 9)
        ece = ece + np.abs(generator.normal(0, 0.01, len(blocks)))
        table = {
            "exit": blocks,
            "split": split,
            "n": model.n,
            "accuracy": accuracy,
            "macro_f1": accuracy,
            "loss": 1 - accuracy,
            "ece": ece,
            "temperature": 0.8 + 0.9 * blocks / blocks[-1] + generator.normal(0, 0.04, len(blocks)),
            "loss_calibrated": 0.9 - 0.9 * accuracy,
            "ece_calibrated": 0.015 + np.abs(generator.normal(0, 0.006, len(blocks))),
            "gflops": model.cost(blocks),
        }
        tables.append(pd.DataFrame(table))
    return pd.concat(tables, ignore_index=True)


def probes(model: Model) -> pd.DataFrame:
    """`probes.csv`, of every block up to the last."""
    blocks = np.arange(1, model.blocks[-1] + 1)
    accuracy = np.clip(model.accuracy(blocks) - 0.03, 0, 1)
    rows = {"block": blocks, "n": model.n, "accuracy": accuracy}
    return pd.concat([pd.DataFrame({**rows, "split": split}) for split in ("valid", "test")])


def points(
    model: Model,
    seed: int,
    experiment: str = "early_exit",
    chosen: str = "risk",
    latency: bool = True,
    criteria: tuple[str, ...] = tuple(BEND),
    shares: tuple[float, ...] = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
) -> pd.DataFrame:
    """`operating_points.csv` of one run; patience has two points, as thresholds are integers."""
    generator = np.random.default_rng(50 + seed)
    blocks = np.array(model.blocks)
    settings = [
        (name, share, share, name)
        for name in criteria
        for share in (shares if name != "patience" else shares[2:4])
    ]
    settings.append(("full", np.nan, 1.0, None))
    settings += [("budget", share, share - 0.01, criteria[0]) for share in TARGETS["budget"]]
    settings += [("drop", drop, 0.72, criteria[0]) for drop in TARGETS["drop"]]
    for number, risk in enumerate(TARGETS["risk"]):
        settings.append(("risk", risk["epsilon"], 0.7 - 0.13 * number, criteria[0]))
    marked = next(index for index, setting in enumerate(settings) if setting[0] == chosen)
    rows = []
    for index, (setting, value, aimed, criterion) in enumerate(settings):
        share = min(aimed + generator.normal(0, 0.008) * (setting != "full"), 1.0)
        lost = 0.25 * (1 - share) ** 2.6 - BEND.get(setting, 0) * (1 - share)
        depth = 1 + (blocks[-1] - 1) * share
        leaving = np.exp(-(((blocks - depth) / blocks[-1] * 3) ** 2))
        counts = np.floor(leaving / leaving.sum() * model.n).astype(int)
        counts[-1] += model.n - counts.sum()
        cost = {"latency_ms": np.nan, "latency_p95_ms": np.nan, "images_per_s": np.nan}
        if latency:
            time = 14.5 * (0.07 + 0.95 * share) + generator.normal(0, 0.15)
            cost = {"latency_ms": time, "latency_p95_ms": time * 1.4, "images_per_s": 900 / time}
        for split in SPLITS:
            accuracy = model.best - lost + 0.004 * seed + generator.normal(0, 0.001)
            row = {
                "experiment": experiment,
                "run": f"{experiment}-s{seed}",
                "seed": seed,
                "method": "early_exit",
                "setting": setting,
                "value": value,
                "split": split,
                "n": model.n,
                "accuracy": accuracy,
                "macro_f1": accuracy,
                "gflops": model.gflops * share,
                **cost,
                "mean_depth": depth,
                "exit_histogram": " ".join(map(str, counts)),
                "criterion": criterion,
                "threshold": np.inf if setting == "full" else 0.9,
                "chosen": index == marked,
                "note": None,
            }
            rows.append(row)
    return pd.DataFrame(rows)


def predictions(model: Model, assignments: pd.DataFrame, seed: int) -> pd.DataFrame:
    """`predictions.csv` at the deployed point: some classes leave later than others."""
    table = made.predictions(assignments, seed, model.best)
    generator = np.random.default_rng(200 + seed)
    classes = int(table["label"].max()) + 1
    depth = 0.25 + 0.5 * ((table["label"] * 7) % classes) / classes
    depth = depth + generator.normal(0, 0.17, len(table))
    place = np.clip(np.floor(depth * len(model.blocks)), 0, len(model.blocks) - 1).astype(int)
    return table.assign(exit=np.array(model.blocks)[place])


def images(table: pd.DataFrame, count: int = 12) -> pd.DataFrame:
    """`exit_images.csv`: the test images of predictions that left first and last."""
    generator = np.random.default_rng(8)
    ordered = table[table["split"] == "test"].sort_values(["exit", "probability"])
    first = ordered.head(count).assign(group="first")
    last = ordered.iloc[::-1].head(count).assign(group="last")
    shown = pd.concat([first, last], ignore_index=True)
    return shown.assign(image=[made.png(generator) for _ in range(len(shown))])


def rivals(model: Model, blocks: dict[str, int], seeds: int, latency: bool = True) -> pd.DataFrame:
    """`summary.csv` rows of truncated and retrained models, and of the experiment itself."""
    table = made.summary({**dict.fromkeys(blocks, 0.5), "early_exit": 0.9}, list(range(seeds)))
    kept = table["experiment"].map(blocks).fillna(model.blocks[-1])
    share = model.cost(kept) / model.gflops
    accuracy = model.best - 0.6 * (1 - share) ** 2 + 0.004 * table["seed"]
    measured = 14.5 * (0.07 + 0.93 * share) if latency else np.nan
    return table.assign(accuracy=accuracy, gflops=model.cost(kept), latency_ms=measured)
