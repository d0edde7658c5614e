"""What each block of a frozen backbone knows: scikit-learn's logistic regression on its features."""

import warnings

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from frugalvit.jobs.progress import Progress

COLUMNS = ["block", "split", "n", "accuracy"]
MOST_ITERATIONS = 200


def probe_blocks(
    features: dict[str, np.ndarray], labels: dict[str, np.ndarray], splits: tuple[str, ...]
) -> pd.DataFrame:
    """Fit a probe on the training images after every block, and score it on other splits.

    The reference for early exits, which read the same: class token and patch mean, joined and
    standardised; scikit-learn's defaults otherwise.

    Args:
        features: split -> `[images, blocks, 2, dim]`; `train` among them.
        labels: split -> `[images]`.
        splits: to score.

    Returns:
        `block` (from 1), `split`, `n`, `accuracy`.
    """
    rows = []
    blocks = features["train"].shape[1]
    shown = Progress("probe", blocks, "blocks")
    for block in range(blocks):
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=MOST_ITERATIONS))
        with warnings.catch_warnings():
            # Iterations are limited on purpose: later ones change no answer that matters.
            warnings.simplefilter("ignore", ConvergenceWarning)
            probe.fit(_joined(features["train"], block), labels["train"])
        for split in splits:
            accuracy = probe.score(_joined(features[split], block), labels[split])
            rows.append((block + 1, split, len(labels[split]), accuracy))
        shown.advance(1)
    return pd.DataFrame(rows, columns=COLUMNS)


def _joined(features: np.ndarray, block: int) -> np.ndarray:
    return features[:, block].reshape(len(features), -1)
