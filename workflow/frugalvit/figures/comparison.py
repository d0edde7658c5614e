"""Plain and adaptive experiments on one scale: accuracy, and cost as a share of the full model's.

Times of different processes do not compare, so an adaptive run's are divided by those of the plain
model that was timed beside it (`full` in its `cost.csv`); a plain run's by the median of the
plain experiments whose network is the study's full model: its first base, whole, at its own size.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from frugalvit.figures import point_words, schedules
from frugalvit.figures.looks import OTHER, Looks
from frugalvit.figures.shares import SHARES, plain_costs, share_of_plain
from frugalvit.operating_point import FULL, is_chosen

POINT_COLUMNS = (
    "experiment",
    "run",
    "seed",
    "method",
    "setting",
    "value",
    "split",
    "n",
    "accuracy",
    "macro_f1",
    "gflops",
    "latency_ms",
    "latency_p95_ms",
    "images_per_s",
    "mean_depth",
    "criterion",
    "chosen",
)
SUMMARY_COLUMNS = (
    "experiment",
    "run",
    "method",
    "seed",
    "split",
    "n",
    "accuracy",
    "macro_f1",
    "device",
    "selected",
)
COST_COLUMNS = (
    "model",
    "batch_size",
    "gflops",
    "latency_ms",
    "latency_p95_ms",
    "images_per_s",
    "device",
    "threads",
)
# What a row is: the full model, another network (its first blocks, another base, another size), an
# operating point, one that saves nothing.
PLAIN, RIVAL, ADAPTIVE, MASKED = "plain", "rival", "adaptive", "masked"
ROLES = (PLAIN, RIVAL, ADAPTIVE, MASKED)
POINT = ["experiment", "method", "role", "setting", "value", "chosen", "joined"]  # what names one


def plain_runs(
    summary: pd.DataFrame, points: pd.DataFrame, experiments: Sequence[str], split: str
) -> pd.DataFrame:
    """Rows of `summary.csv` of the experiments without operating points."""
    plain = [name for name in experiments if name not in set(points["experiment"])]
    runs = schedules.compared_runs(summary, plain)
    return runs[runs["split"] == split]


def compared(
    points: pd.DataFrame,
    summary: pd.DataFrame,
    costs: pd.DataFrame,
    experiments: Mapping[str, str],
    looks: Looks,
    split: str,
    throughput_batch: int,
) -> pd.DataFrame:
    """Every plain run and operating point with its cost as a share of the full model's.

    Args:
        points: `POINT_COLUMNS`.
        summary: `SUMMARY_COLUMNS`.
        costs: `COST_COLUMNS` and `run`, of all runs.
        experiments: to compare; what tells the network of each from the full model, empty where none.
        looks: of their methods.
        split: of the accuracies.
        throughput_batch: images a batch of the points' `images_per_s`.

    Returns:
        One row a run and point: `experiment, run, seed, method, role` (of `ROLES`), `setting, value,
        n, accuracy, chosen, joined` (part of a curve), `SHARES` as ratios to the full model, 1 where
        they are as large; of curves of several criteria only the one in use.
    """
    of_compared = summary.loc[summary["experiment"].isin(list(experiments)), "run"]
    full = plain_costs(costs[costs["run"].isin(of_compared)], throughput_batch)
    plain = plain_runs(summary, points, list(experiments), split)
    own = full.reindex(plain["run"]).set_axis(plain.index)
    whole = [name for name, words in experiments.items() if not words]
    rival = ~plain["experiment"].isin(whole)
    of_whole = summary.loc[summary["experiment"].isin(whole), "run"]
    # The full model: plain runs', or where none is shown, as it was timed beside adaptive ones; where
    # no experiment has it, the largest of all.
    timed = own[~rival] if not rival.all() else full[full.index.isin(of_whole)]
    timed = timed if len(timed) else full[full["gflops"] == full["gflops"].max()]
    reference = timed.median()
    plain = plain.assign(
        role=rival.map({True: RIVAL, False: PLAIN}),
        setting="",
        value=float("nan"),
        chosen=True,
        joined=False,
        **share_of_plain(own, reference),
    )
    adaptive = points[(points["split"] == split) & points["experiment"].isin(list(experiments))]
    groups = [
        point_words.of_use(rows, looks.get(method, OTHER).targets)
        for (_, method), rows in adaptive.groupby(["experiment", "method"], sort=False)
    ]
    adaptive = pd.concat(groups) if groups else adaptive
    beside = full.reindex(adaptive["run"]).set_axis(adaptive.index)
    # Times are divided by those of the model beside them; where that is another than the full one, the
    # full one is that much larger.
    networks = adaptive["experiment"].map(dict(experiments))
    beside_whole = beside.copy()
    for words in networks[networks != ""].unique():
        of_network = networks == words
        beside_whole[of_network] /= share_of_plain(beside[of_network].median(), reference)
    masked = is_masked(adaptive, looks)
    aimed = [
        setting == FULL or setting in looks.get(method, OTHER).targets
        for method, setting in zip(adaptive["method"], adaptive["setting"])
    ]
    adaptive = adaptive.assign(
        role=masked.map({True: MASKED, False: ADAPTIVE}),
        chosen=is_chosen(adaptive) & ~masked,
        joined=~masked & ~pd.Series(aimed, index=adaptive.index, dtype=bool),
        **share_of_plain(adaptive[list(SHARES)].astype(float), beside_whole),
    )
    columns = ["experiment", "run", "seed", "method", "role", "setting", "value", "n", "accuracy"]
    parts = [part[[*columns, "chosen", "joined", *SHARES]] for part in (plain, adaptive)]
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)


def is_masked(points: pd.DataFrame, looks: Looks) -> pd.Series:
    """Whether each row computes what another point of its run leaves out."""
    found = [
        setting in looks.get(method, OTHER).masked
        for method, setting in zip(points["method"], points["setting"])
    ]
    return pd.Series(found, index=points.index, dtype=bool)


def over_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """Means over runs of each point of `compared`, and standard deviations as `{column}_sd`.

    A point of a curve that only some runs have is left out, unless none is common to all: the
    curve would jump with the runs that it is of.
    """
    counts = rows.groupby(["experiment", "role"])["run"].nunique()
    parts = []
    for key, group in rows.groupby(POINT, dropna=False, sort=False):
        values = group[["accuracy", *SHARES]]
        row = {**dict(zip(POINT, key)), "runs": group["run"].nunique(), "n": group["n"].iloc[0]}
        parts.append({**row, **values.mean(), **values.std().add_suffix("_sd")})
    table = pd.DataFrame(parts)
    whole = table["runs"].to_numpy() == [
        counts[at] for at in zip(table["experiment"], table["role"])
    ]
    lone = ~pd.Series(whole).groupby([table["experiment"], table["role"]]).transform("any")
    return table[whole | lone | ~table["joined"]].reset_index(drop=True)


def by_seed(rows: pd.DataFrame, table: pd.DataFrame, column: str) -> pd.DataFrame:
    """A column of `rows` for each point of `over_seeds`: a row a point, a column a seed."""
    numbered = table[POINT].assign(place=range(len(table)))
    found = rows.merge(numbered, on=POINT)  # a missing value equals another
    pivoted = found.pivot_table(index="place", columns="seed", values=column, dropna=False)
    return pivoted.reindex(range(len(table))).set_axis(table.index)
