"""Localization as a graph: the class, and the box of the object."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from frugalvit.methods.graphs import BOXES, PROBABILITIES, Graphs, Stage
from frugalvit.methods.localize.model import answers_of
from frugalvit.operating_point import Point


class ClassAndBox(nn.Module):
    """Both answers, apart."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities `[batch, classes]` and boxes `[batch, 4]`."""
        found = answers_of(self.model(images))
        return found.logits.softmax(dim=1), found.boxes


def graphs(model: nn.Module, card: dict[str, Any], point: Point | None, folder: Path) -> Graphs:
    """See `methods.graphs`."""
    return Graphs([Stage(ClassAndBox(model), (PROBABILITIES, BOXES))])
