"""Chosen models compared image by image, and what is left of a difference among many comparisons.

Of two experiments each test image counts once: better, worse or alike, by the mean over the seeds that
both have. The p-value is that of the exact test of McNemar (1947), a sign test of better against worse.
Images are taken to be drawn independently. Of many comparisons some look real by chance; p is therefore
corrected as Benjamini and Yekutieli (2001) do, which holds however the comparisons depend on each other:
of all differences that are called real at 0.05, at most 5 % are expected not to be.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import binomtest, false_discovery_control

LEVEL = 0.05  # of the corrected p, below which two experiments are told apart
AGAINST, PAIRS = "answer", "pairs"  # families: each against the answer, and all pairs
COLUMNS = [
    "family", "one", "other", "seeds", "n", "better", "worse", "points", "p", "p_corrected", "real",
    "level", "said",
]  # fmt: skip


def counted(right: pd.DataFrame, one: Sequence[str], other: Sequence[str]) -> np.ndarray:
    """By how much one experiment is better on each image, `[images]`: mean over seeds, -1 to 1.

    Args:
        right: whether each run is right, a row an image, a column a run.
        one: runs of the one, a seed each.
        other: runs of the other, of the same seeds.
    """
    difference = right[list(one)].mean(axis=1) - right[list(other)].mean(axis=1)
    return difference.dropna().to_numpy()


def words(better: int, worse: int, p: float) -> str:
    """'better on 31 images, worse on 12; p = 0.005 after correction'."""
    images = "image" if better == 1 else "images"
    shown = "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
    told = "" if p < LEVEL else ": not told apart"
    return f"better on {better} {images}, worse on {worse}; {shown} after correction{told}"


def comparisons(
    right: pd.DataFrame, experiments: Mapping[str, Sequence[str]], reference: str | None
) -> pd.DataFrame:
    """Every experiment against the reference, and all pairs, each family corrected for itself.

    Args:
        right: whether each run is right on a test image, a row an image, a column a run; NaN for
            images that a run was not asked about.
        experiments: name -> its runs, `{name}-s{seed}`.
        reference: the experiment of the answer; None where there is none.

    Returns:
        `COLUMNS`. `points` is the difference of accuracy, one less other; `real` whether the corrected
        p is below `level`. Without rows where there is nothing to compare.
    """
    others = [name for name in experiments if name != reference]
    families = {
        AGAINST: [(name, reference) for name in others] if reference else [],
        PAIRS: list(combinations(experiments, 2)),
    }
    tables = [_family(name, pairs, right, experiments) for name, pairs in families.items()]
    known = [table for table in tables if len(table)]
    return pd.concat(known, ignore_index=True) if known else pd.DataFrame(columns=COLUMNS)


def _family(
    family: str,
    pairs: Sequence[tuple[str, str]],
    right: pd.DataFrame,
    experiments: Mapping[str, Sequence[str]],
) -> pd.DataFrame:
    rows = []
    for one, other in pairs:
        seeds = [
            seed
            for seed in (run.rsplit("-s", 1)[1] for run in experiments[one])
            if {f"{one}-s{seed}", f"{other}-s{seed}"} <= set(right.columns)
        ]
        if not seeds:
            continue
        runs = ([f"{name}-s{seed}" for seed in seeds] for name in (one, other))
        difference = counted(right, *runs)
        if not len(difference):
            continue
        better, worse = int((difference > 0).sum()), int((difference < 0).sum())
        apart = better + worse
        rows.append(
            {
                "family": family,
                "one": one,
                "other": other,
                "seeds": " ".join(seeds),
                "n": len(difference),
                "better": better,
                "worse": worse,
                "points": 100 * difference.mean(),
                "p": binomtest(better, apart).pvalue if apart else 1.0,
            }
        )
    table = pd.DataFrame(rows, columns=COLUMNS)
    if len(table):
        table["p_corrected"] = false_discovery_control(table["p"].astype(float), method="by")
        table["real"] = table["p_corrected"] < LEVEL
        table["level"] = LEVEL
        table["said"] = [
            words(row.better, row.worse, row.p_corrected) for row in table.itertuples()
        ]
    return table
