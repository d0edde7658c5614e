"""Dataset-level metrics of a classifier's predictions."""

from collections.abc import Callable
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_calibration_error,
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_stat_scores,
)

ECE_BINS = 15


def predictions(ids: list[str], split: str, logits: Tensor, labels: Tensor) -> pd.DataFrame:
    """One row an image: `id, split, label, predicted, probability` (of the predicted class).

    Args:
        logits: `[images, classes]`.
        labels: `[images]`.
    """
    probability, predicted = logits.float().softmax(dim=1).max(dim=1)
    return pd.DataFrame(
        {
            "id": ids,
            "split": split,
            "label": labels.numpy(),
            "predicted": predicted.numpy(),
            "probability": probability.double().round(decimals=6).numpy(),
        }
    )


def batch_averages(logits: Tensor, labels: Tensor, batch_size: int = 128) -> dict[str, Any]:
    """Macro averages of each batch, averaged over batches, as one of our sources reported them.

    Not top-1 and no macro-F1 of the data: in a batch most classes have few images or none. Here for
    comparison with that source's table only.

    Args:
        logits: `[images, classes]`, in any order.
        labels: `[images]`.
        batch_size: the source's.
    """
    classes = logits.shape[1]
    # In an order that mixes the classes, as the source's random split did.
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    logits, labels = logits[order], labels[order]
    parts = list(zip(logits.split(batch_size), labels.split(batch_size)))
    measures: dict[str, Callable[..., Tensor]] = {
        "batch_accuracy": multiclass_accuracy,
        "batch_macro_f1": multiclass_f1_score,
    }
    averages = {
        name: sum(measure(*part, classes, average="macro").item() for part in parts) / len(parts)
        for name, measure in measures.items()
    }
    return {**averages, "batch_size": batch_size}


def quality(scores: Tensor, labels: Tensor) -> dict[str, Any]:
    """How good answers are, over a whole split: `n`, top-1 `accuracy`, `macro_f1`.

    Macro-F1 is the unweighted mean over the classes that occur as a label or as a prediction.

    Args:
        scores: `[images, classes]`, the largest the answer: logits or (log-)probabilities.
        labels: `[images]`.
    """
    classes = scores.shape[1]
    counts = multiclass_stat_scores(scores, labels, classes, average="micro").tolist()
    right, images = counts[0], counts[-1]
    return {
        "n": len(labels),
        # From counts: in 32 bits, as torchmetrics divides, two accuracies compare only to 7 digits.
        "accuracy": right / images,
        "macro_f1": multiclass_f1_score(scores, labels, classes, average="macro").item(),
    }


def classification_metrics(logits: Tensor, labels: Tensor) -> dict[str, Any]:
    """Metrics over a whole split, each computed once from all its images.

    Those of `quality`; cross-entropy (nats); expected calibration error with 15 equal-width bins of the
    largest probability (Guo et al. 2017); recall of each class, None where it has no image; the
    confusion matrix, rows true, columns predicted.

    Args:
        logits: `[images, classes]`.
        labels: `[images]`.
    """
    classes = logits.shape[1]
    logits = logits.float()
    probabilities = logits.softmax(dim=1)
    confusion = multiclass_confusion_matrix(probabilities, labels, classes)
    images = confusion.sum(dim=1)
    recall = [(confusion[k, k] / images[k]).item() if images[k] else None for k in range(classes)]
    return {
        **quality(probabilities, labels),
        "loss": F.cross_entropy(logits.double(), labels).item(),
        "ece": multiclass_calibration_error(probabilities, labels, classes, n_bins=ECE_BINS).item(),
        "recall_per_class": recall,
        "confusion": confusion.tolist(),
    }
