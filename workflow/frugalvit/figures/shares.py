"""Cost as a share of the plain model's: the one place where figures and tables divide by it.

Times of different sessions do not compare, so each run's cost is divided by that of the plain model
in the run's own `cost.csv`, which was measured beside it.
"""

from typing import Any

import pandas as pd

from frugalvit.operating_point import FULL

SHARES = ("gflops", "latency_ms", "images_per_s")


def share_of_plain(cost: Any, plain: Any) -> Any:
    """A cost over the plain model's, 1 where they are equal; NaN where either is unknown.

    Args:
        cost: a number, Series or DataFrame.
        plain: of the plain model measured beside it, of the same kind or one number a column.
    """
    return cost / plain


def costs_at(rows: pd.DataFrame, throughput_batch: int) -> pd.Series:
    """`SHARES` of one model of a run's cost table: batch 1, but images/s at `throughput_batch`.

    NaN where nothing was measured.
    """
    at = rows.drop_duplicates("batch_size").set_index("batch_size")
    at = at.reindex(sorted({1, throughput_batch}))
    values = {name: at.loc[1, name] for name in SHARES[:2]}
    return pd.Series({**values, SHARES[2]: at.loc[throughput_batch, SHARES[2]]}, dtype=float)


def plain_costs(costs: pd.DataFrame, throughput_batch: int) -> pd.DataFrame:
    """`SHARES` of the plain model in each run's cost table, indexed by run.

    That is `full`, and the run's first model, the network itself, where there is none.

    Args:
        costs: `model, batch_size, run` and `SHARES`, of all runs.
        throughput_batch: images a batch of `images_per_s`.
    """
    rows = {}
    for run, table in costs.groupby("run", sort=False):
        first = FULL if (table["model"] == FULL).any() else table["model"].iloc[0]
        rows[run] = costs_at(table[table["model"] == first], throughput_batch)
    return pd.DataFrame.from_dict(rows, orient="index", columns=SHARES).astype(float)
