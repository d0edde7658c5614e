"""Operating points of models whose tokens leave, evaluated."""

from typing import Any

import numpy as np
from torch import Tensor

from frugalvit.evaluation.metrics import classification_metrics
from frugalvit.methods.tokens.points import (
    Answers,
    TokenPoint,
    image_gflops,
)
from frugalvit.words import OPERATING_POINTS

EVALUATED = OPERATING_POINTS[4:]


def point_row(point: TokenPoint, split: str, answers: Answers, labels: Tensor) -> dict[str, Any]:
    """One operating point on one split, with the keys `EVALUATED`; measured times are left empty.

    Args:
        point: the setting.
        split: its name.
        answers: to the split's images.
        labels: theirs, `[images]`.
    """
    depths = answers.depths
    metrics = classification_metrics(answers.logits, labels)
    row = dict.fromkeys(EVALUATED) | {
        "setting": point.setting,
        "value": point.value,
        "split": split,
        **{key: metrics[key] for key in ("n", "accuracy", "macro_f1")},
        "gflops": float(np.mean(image_gflops(point.module, depths))),
        "chosen": point.chosen,
        "note": "",
    }
    if depths is not None:
        histogram = depths.flatten().bincount(minlength=point.num_layers + 1)[1:]
        row["mean_depth"] = depths.double().mean().item()
        row["exit_histogram"] = " ".join(map(str, histogram.tolist()))
    return row
