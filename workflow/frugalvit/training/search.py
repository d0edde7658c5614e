"""Grid search: which point validated best."""

import pandas as pd


def kept_epoch(history: pd.DataFrame, keep: str) -> dict[str, float]:
    """`valid_accuracy` and `valid_loss` of the epoch whose weights a run kept (`best` or `last`)."""
    if keep == "last":
        row = history.iloc[-1]
    else:
        best = history.sort_values(["valid_accuracy", "valid_loss"], ascending=[False, True])
        row = best.iloc[0]
    return {"valid_accuracy": row["valid_accuracy"], "valid_loss": row["valid_loss"]}


def select_point(points: list[dict], runs: list[dict]) -> tuple[int, pd.DataFrame]:
    """Choose the grid point with the best mean validation accuracy.

    Ties go to the lower mean validation loss, then to the earlier point. Test data play no part.

    Args:
        points: the grid's points, each setting -> value.
        runs: one dict a search run: `run`, `point`, `seed`, `valid_accuracy`, `valid_loss`.

    Returns:
        The chosen index, and one row a point: `point`, the settings, `runs`, `seeds`,
        `valid_accuracy` (mean over seeds), `valid_accuracy_std` (empty for one seed), `selected`.
    """
    scores = (
        pd.DataFrame(runs)
        .groupby("point")
        .agg(
            runs=("run", " ".join),
            seeds=("seed", "count"),
            valid_accuracy=("valid_accuracy", "mean"),
            valid_accuracy_std=("valid_accuracy", "std"),
            valid_loss=("valid_loss", "mean"),
        )
    )
    order = scores.assign(position=scores.index).sort_values(
        ["valid_accuracy", "valid_loss", "position"], ascending=[False, True, True]
    )
    chosen = int(order.index[0])
    table = pd.DataFrame(points)
    table.insert(0, "point", range(len(points)))
    table = table.join(scores.drop(columns="valid_loss"), on="point")
    table["selected"] = table["point"] == chosen
    return chosen, table
