"""The table of all runs that figures and the report read."""

import pandas as pd

COLUMNS = [
    "study", "experiment", "run", "method", "seed", "split", "n", "accuracy", "macro_f1", "loss",
    "ece", "gflops", "latency_ms", "images_per_s", "params_m", "train_seconds", "peak_memory_mb",
    "device", "selected",
]  # fmt: skip


def summarize(
    study: str,
    runs: list[tuple[dict, dict, dict]],
    costs: dict[str, pd.DataFrame],
    choices: dict[str, int],
) -> pd.DataFrame:
    """One row a run and split, in the order of the runs.

    Args:
        study: its name.
        runs: for each, `{run, experiment, seed, point}`, its metrics by split, and its card.
        costs: run -> measured cost, where it was measured.
        choices: experiment -> grid point that its search chose.

    Returns:
        `COLUMNS`. `device` is the one trained on. `selected` is true for the chosen point's runs,
        false for the others of a search, empty for experiments without one; columns without a
        meaning are empty.
    """
    rows = []
    for run, metrics, card in runs:
        cost = _cost(costs.get(run["run"]))
        for split, values in metrics.items():
            rows.append(
                {
                    "study": study,
                    "experiment": run["experiment"],
                    "run": run["run"],
                    "method": card["method"],
                    "seed": run["seed"],
                    "split": split,
                    **{key: values[key] for key in ("n", "accuracy", "macro_f1", "loss", "ece")},
                    **cost,
                    "train_seconds": card["train_seconds"],
                    "peak_memory_mb": card["peak_memory_mb"],
                    "device": card["device"],
                    "selected": _selected(run, choices),
                }
            )
    return pd.DataFrame(rows, columns=COLUMNS)


def _cost(table: pd.DataFrame | None) -> dict:
    if table is None:
        return {}
    single = table[table["batch_size"] == 1].iloc[0]
    batched = table[table["batch_size"] == table["batch_size"].max()].iloc[0]
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
