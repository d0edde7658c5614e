"""Two experiments compared image by image: which images one gets right and the other does not."""

import pandas as pd

from frugalvit.chance import sign_test

COLUMNS = ("id", "split", "label", "predicted")


def correctness(predictions: pd.DataFrame, split: str) -> pd.DataFrame:
    """Whether each run got each image right: a row an image, a column a run.

    Args:
        predictions: `COLUMNS` and `run`, of runs that were tested on any images.
        split: whose images.
    """
    chosen = predictions[predictions["split"] == split]
    right = chosen["label"] == chosen["predicted"]
    return chosen.assign(right=right.astype(float)).pivot(index="id", columns="run", values="right")


def won_and_lost(
    right: pd.DataFrame, own: dict[int, str], other: dict[int, str]
) -> tuple[int, int] | None:
    """Images that one experiment gets right more often than another, and less often.

    Of the seeds that both have the mean is compared, so that an image counts once. None where they
    share no seed, were tested on other images, or left no predictions.

    Args:
        right: of `correctness`.
        own: run of each seed of the one.
        other: run of each seed of the other.
    """
    seeds = [
        seed
        for seed in own
        if seed in other and own[seed] in right.columns and other[seed] in right.columns
    ]
    if not seeds:
        return None
    mine, others = (right[[runs[seed] for seed in seeds]] for runs in (own, other))
    tested, also = mine.notna().all(axis=1), others.notna().all(axis=1)
    if not (tested == also).all():
        return None
    difference = mine[tested].sum(axis=1) - others[tested].sum(axis=1)
    return int((difference > 0).sum()), int((difference < 0).sum())


def against_text(won: int, lost: int) -> str:
    """'3 : 1 (p 0.63)', with p of the exact sign test."""
    p = sign_test(won, lost)
    return f"{won} : {lost} (p {p:.2f})" if p >= 0.01 else f"{won} : {lost} (p < {_above(p)})"


def _above(p: float) -> str:
    return "0.001" if p < 0.001 else "0.01"
