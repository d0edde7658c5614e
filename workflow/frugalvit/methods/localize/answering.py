"""Localization answering new images: the class, and the box of the object."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from frugalvit.methods.localize.model import answers_of
from frugalvit.methods.method import Answered, Answering
from frugalvit.operating_point import Point


def answering(
    model: nn.Module, card: dict[str, Any], point: Point | None, folder: Path
) -> Answering:
    """See `methods.method.AnsweringPart`."""

    def read(outputs: Tensor) -> Answered:
        found = answers_of(outputs)
        return Answered(found.logits, {}, found.boxes.clamp(0, 1))

    return Answering(model, read, boxed=True)
