"""What the evaluation of a network writes: its answers, their metrics, its best and worst images."""

from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from frugalvit.data.thumbnails import encode
from frugalvit.evaluation.metrics import batch_averages, classification_metrics, predictions
from frugalvit.evaluation.tested import TestedRun
from frugalvit.methods.scratch.objective import SquaredError
from frugalvit.training.objective import one_hot

EACH = 8  # images of each kind
COLUMNS = ["kind", "id", "split", "class_name", "predicted_name", "loss", "image"]


def evaluate(run: TestedRun, how: dict[str, Any]) -> dict[str, Any]:
    """Answer each split; see `methods.method.TablesPart`. `mse` is against one-hot targets."""
    tables, metrics, examples = [], {}, []
    for split in run.splits:
        logits, labels = run.logits(split)
        tables.append(predictions(run.ids(split), split, logits, labels))
        metrics[split] = classification_metrics(logits, labels) | batch_averages(logits, labels)
        if how["loss"] == "mse":
            error = SquaredError().losses(logits, labels, logits)["loss"]
            metrics[split] |= {"mse": error.item()}
        if split == run.splits[-1]:
            examples = _examples(run, split, logits, losses(logits, labels, how["loss"]))
    shown = pd.DataFrame(examples, columns=COLUMNS)
    return {**run.answered(tables, metrics), "examples": shown}


def losses(logits: Tensor, labels: Tensor, loss: str) -> Tensor:
    """What training minimised, image by image, `[images]`."""
    if loss == "mse":
        return (logits - one_hot(labels, logits.shape[1])).square().mean(dim=1)
    return F.cross_entropy(logits, labels, reduction="none")


def _examples(run: TestedRun, split: str, logits: Tensor, each: Tensor) -> list[tuple]:
    """The images with the smallest and the largest loss, `COLUMNS`."""
    names = run.store.class_names
    images = run.images(split)
    order = torch.argsort(each, stable=True).tolist()
    rows = []
    for kind, places in (("best", order[:EACH]), ("worst", order[::-1][:EACH])):
        for place in places:
            [image] = images.pictures([place])
            answered = names[int(logits[place].argmax())]
            true, loss = names[int(images.labels[place])], round(each[place].item(), 6)
            rows.append((kind, images.ids[place], split, true, answered, loss, encode(image)))
    return rows
