"""Localization answering new images: the class, and the box of the object."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from frugalvit.data.batches import ImageSet
from frugalvit.data.boxes import with_boxes
from frugalvit.methods.localize import measures as of_boxes
from frugalvit.methods.localize.model import answers_of
from frugalvit.methods.method import Answered, Answering
from frugalvit.operating_point import Point


def answering(
    model: nn.Module, card: dict[str, Any], point: Point | None, folder: Path
) -> Answering:
    """See `methods.method.AnsweringPart`."""

    def read(outputs: Tensor) -> Answered:
        found = answers_of(outputs)
        return Answered(found.logits, {}, found.boxes)

    return Answering(model, read, boxed=True)


def measures(answered: Answered, images: ImageSet) -> dict[str, float | int | None]:
    """How well boxes are found, as the evaluation has it; see `measures.measures`."""
    assert answered.boxes is not None, "a localizer answers with boxes"
    true = images.boxes
    labels = answered.scores.argmax(dim=1, keepdim=True).float()
    predicted = torch.cat([labels, answered.boxes], dim=1)
    told = of_boxes.measures(predicted, with_boxes(images.labels, true))
    known = {name: None if np.isnan(value) else value for name, value in told.items()}
    return {**known, "boxed": int((~np.isnan(true).any(axis=1)).sum())}
