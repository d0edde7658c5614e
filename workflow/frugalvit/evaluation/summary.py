"""The tables of all runs and operating points that figures and the report read."""

from collections.abc import Sequence

import pandas as pd

from frugalvit.operating_point import is_chosen

COLUMNS = [
    "study", "experiment", "run", "method", "seed", "split", "n", "accuracy", "macro_f1", "loss",
    "ece", "gflops", "latency_ms", "images_per_s", "params_m", "train_seconds", "peak_memory_mb",
    "device", "selected", "warning",
]  # fmt: skip
BASE = ("base", "image_size")  # columns of a study with several bases or sizes
COST = ("gflops", "latency_ms", "images_per_s", "params_m")


def summarize(
    study: str,
    runs: list[tuple[dict, dict, dict]],
    costs: dict[str, pd.DataFrame],
    choices: dict[str, int],
    points: pd.DataFrame,
    throughput_batch: int,
    warnings: dict[str, str],
    measures: Sequence[str] = (),
) -> pd.DataFrame:
    """One row a run and split, in the order of the runs.

    An adaptive run's row is its operating point in use; the others are only in `operating_points.csv`.

    Args:
        study: its name.
        runs: for each, `{run, experiment, seed, point}`, where a study has several also the name of its
            `base` and its `image_size`, then its metrics by split, and its card.
        costs: run -> measured cost, where it was measured.
        choices: experiment -> grid point that its search chose.
        points: operating points of all adaptive runs.
        throughput_batch: batch size of `images_per_s`.
        warnings: run -> where it falls short, of `shortfalls`.
        measures: of methods, that are columns besides; empty where a run has none.

    Returns:
        `COLUMNS`, `measures` and, of several bases or sizes, `BASE`. `device` is the one trained on.
        `selected` is true for the chosen point's runs, false for the others of a search, empty for
        experiments without one; `warning` stands in the row of the test images; columns without a
        meaning are empty.
    """
    used = points[is_chosen(points)].set_index(["run", "split"])
    rows = []
    for run, metrics, card in runs:
        plain = _plain_cost(costs.get(run["run"]), throughput_batch)
        for split, values in metrics.items():
            at = (run["run"], split)
            rows.append(
                {
                    "study": study,
                    "experiment": run["experiment"],
                    "run": run["run"],
                    "method": card["method"],
                    "seed": run["seed"],
                    "split": split,
                    **{key: values[key] for key in ("n", "accuracy", "macro_f1", "loss", "ece")},
                    **(used.loc[at, list(COST)].to_dict() if at in used.index else plain),
                    "train_seconds": card["train_seconds"],
                    "peak_memory_mb": card["peak_memory_mb"],
                    "device": card["device"],
                    "selected": _selected(run, choices),
                    "warning": warnings.get(run["run"]) if split == "test" else None,
                    **{name: values.get(name) for name in measures},
                    **{name: run[name] for name in BASE if name in run},
                }
            )
    told = [name for name in BASE if any(name in run for run, _, _ in runs)]
    return pd.DataFrame(rows, columns=[*COLUMNS, *measures, *told])


def metrics_table(runs: list[tuple[dict, dict, dict]]) -> pd.DataFrame:
    """One row a run and split: every measure of metrics.json that is one number.

    Args:
        runs: as `summarize` takes them.
    """
    return pd.DataFrame(
        {
            "run": run["run"],
            "split": split,
            **{key: value for key, value in values.items() if not isinstance(value, list)},
        }
        for run, metrics, _ in runs
        for split, values in metrics.items()
    )


def _plain_cost(table: pd.DataFrame | None, throughput_batch: int) -> dict:
    """`COST` of the first model of a table: the plain one."""
    if table is None:
        return {}
    table = table[table["model"] == table["model"].iloc[0]]
    single = table[table["batch_size"] == 1].iloc[0]
    batched = table[table["batch_size"] == throughput_batch].iloc[0]
    return {
        "gflops": single["gflops"],
        "latency_ms": single["latency_ms"],
        "images_per_s": batched["images_per_s"],
        "params_m": single["params_m"],
    }


def _selected(run: dict, choices: dict[str, int]) -> bool | None:
    if run["experiment"] not in choices:
        return None
    return run["point"] is None or run["point"] == choices[run["experiment"]]
