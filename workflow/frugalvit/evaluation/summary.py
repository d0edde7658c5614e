"""The tables of all runs and operating points that figures and the report read."""

import pandas as pd

COLUMNS = [
    "study", "experiment", "run", "method", "seed", "split", "n", "accuracy", "macro_f1", "loss",
    "ece", "gflops", "latency_ms", "images_per_s", "params_m", "train_seconds", "peak_memory_mb",
    "device", "selected",
]  # fmt: skip


# Settings of operating points that get a row each: those of early exits, of tokens that leave.
TARGETS = ("full", "budget", "drop", "risk", "packed", "masked", "eps", "r", "keep")


def summarize(
    study: str,
    runs: list[tuple[dict, dict, dict]],
    costs: dict[str, pd.DataFrame],
    choices: dict[str, int],
    points: pd.DataFrame,
    throughput_batch: int,
) -> pd.DataFrame:
    """One row a run and split, in the order of the runs; after it those of its other targets.

    An adaptive run's own row is its operating point in use. Its other targets have rows of their
    own, whose experiment is the run's with the target behind a colon (`early_exit:budget 0.5`).

    Args:
        study: its name.
        runs: for each, `{run, experiment, seed, point}`, its metrics by split, and its card.
        costs: run -> measured cost, where it was measured.
        choices: experiment -> grid point that its search chose.
        points: operating points of all adaptive runs.
        throughput_batch: batch size of `images_per_s`.

    Returns:
        `COLUMNS`. `device` is the one trained on. `selected` is true for the chosen point's runs,
        false for the others of a search, empty for experiments without one; columns without a
        meaning are empty.
    """
    rows = []
    for run, metrics, card in runs:
        own = points[points["run"] == run["run"]]
        targets = own[own["setting"].isin(TARGETS)]
        cost = _cost(costs.get(run["run"]), throughput_batch)
        with_exits = costs[run["run"]]["params_m"].max() if len(own) else None
        trained = {
            "method": card["method"],
            "train_seconds": card["train_seconds"],
            "peak_memory_mb": card["peak_memory_mb"],
            "device": card["device"],
        }
        for split, values in metrics.items():
            used = targets[(targets["split"] == split) & targets["chosen"].astype(bool)]
            measured = _point_cost(used.iloc[0], with_exits, cost) if len(used) else {}
            rows.append(
                {
                    "study": study,
                    "experiment": run["experiment"],
                    "run": run["run"],
                    "seed": run["seed"],
                    "split": split,
                    **{key: values[key] for key in ("n", "accuracy", "macro_f1", "loss", "ece")},
                    **cost,
                    **measured,
                    **trained,
                    "selected": _selected(run, choices),
                }
            )
        others = targets[targets["split"].isin(metrics) & ~targets["chosen"].astype(bool)]
        for point in others.to_dict("records"):
            target = _target_name(point)
            rows.append(
                {
                    "study": study,
                    "experiment": f"{run['experiment']}:{target}",
                    "run": f"{run['run']}:{target}",
                    **{key: point[key] for key in ("seed", "split", "n", "accuracy", "macro_f1")},
                    **_point_cost(point, with_exits, cost),
                    **trained,
                }
            )
    return pd.DataFrame(rows, columns=COLUMNS)


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


def _target_name(point: dict) -> str:
    if point["setting"] in ("full", "masked"):  # a run has one of each
        return point["setting"]
    return f"{point['setting']} {point['value']:g}"


def _point_cost(point: dict | pd.Series, with_exits: float | None, plain: dict) -> dict:
    measured = {key: point[key] for key in ("gflops", "latency_ms", "images_per_s")}
    early = point["threshold"] != float("inf")  # the full model needs no exit's weights
    return measured | {"params_m": with_exits if early else plain["params_m"]}


def _cost(table: pd.DataFrame | None, throughput_batch: int) -> dict:
    """Of the first model of a table: the plain one."""
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
