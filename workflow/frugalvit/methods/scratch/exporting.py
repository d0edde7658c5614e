"""Networks from nothing as a graph: the class, and the embedding that the classifier reads."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from frugalvit.methods.graphs import EMBEDDING, PROBABILITIES, Graphs, Stage
from frugalvit.models.networks.network import Classifier
from frugalvit.operating_point import Point


class ClassAndEmbedding(nn.Module):
    """Both outputs of a network."""

    def __init__(self, model: Classifier):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities `[batch, classes]` and embedding `[batch, width]`."""
        embedding = self.model.embed(images)
        return self.model.classifier(embedding).float().softmax(dim=1), embedding


def graphs(model: Classifier, card: dict[str, Any], point: Point | None, folder: Path) -> Graphs:
    """See `methods.graphs`."""
    return Graphs([Stage(ClassAndEmbedding(model), (PROBABILITIES, EMBEDDING))])
