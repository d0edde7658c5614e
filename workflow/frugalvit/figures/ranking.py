"""Who is better than whom: a mean over some seeds does not compare with a mean over others."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from frugalvit.figures.style import DASH


def with_fewer_seeds(seeds: Mapping[str, set[int]]) -> set[str]:
    """Names that lack a seed which the one with most seeds has."""
    most = max(seeds.values(), key=len, default=set())
    return {name for name, own in seeds.items() if not most <= own}


def difference_text(own: pd.Series, other: pd.Series) -> str:
    """'−0.4 ± 0.2 (seeds 0, 1)': points of accuracy against another, on the seeds that both have.

    Args:
        own: accuracy by seed.
        other: the other's accuracy by seed.
    """
    points = ((own - other) * 100).dropna()
    if points.empty:
        return DASH
    spread = f" ± {points.std():.1f}" if len(points) > 1 else ""
    seeds = ", ".join(str(seed) for seed in points.index)
    return f"{points.mean():+.1f}{spread} (seed{'s' * (len(points) > 1)} {seeds})"


def non_dominated(cost: pd.DataFrame, accuracy: pd.DataFrame, less: bool = True) -> pd.Series:
    """Whether no other point is at least as good in both and better in one; False without a cost.

    Two points are compared by their means over the seeds that both have; without a common one neither
    is better.

    Args:
        cost: a row a point, a column a seed; NaN where that seed has no such point.
        accuracy: a row a point, a column a seed.
        less: whether less of `cost` is better.
    """
    x = cost.to_numpy(dtype=float) * (1 if less else -1)
    y = accuracy.to_numpy(dtype=float)
    known = ~np.isnan(x) & ~np.isnan(y)
    kept = []
    for own in range(len(x)):
        common = known & known[own]
        counts = common.sum(axis=1)
        means = [
            np.where(common, values, 0).sum(axis=1) / np.maximum(counts, 1)
            for values in (x, np.broadcast_to(x[own], x.shape), y, np.broadcast_to(y[own], y.shape))
        ]
        other_x, own_x, other_y, own_y = means
        no_worse = (other_x <= own_x) & (other_y >= own_y) & (counts > 0)
        better = (other_x < own_x) | (other_y > own_y)
        kept.append(known[own].any() and not (no_worse & better).any())
    return pd.Series(kept, index=cost.index, dtype=bool)
