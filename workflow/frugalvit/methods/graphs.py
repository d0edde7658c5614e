"""What a method says of its model as graphs: tensors in, tensors out, nothing of Python between.

A method whose answers are more than logits has a part `exporting.py` with

    graphs(model, card, point, folder) -> Graphs

of the arguments of `AnsweringPart.answering` (`methods.method`). It raises ConfigError, one line, where
no graph can say what the model does, and names what can be exported in its place.
"""

from typing import NamedTuple

from torch import Tensor, nn

PROBABILITIES = "probabilities"  # [batch, classes], the first answer of every stage
SCORE = "score"  # [batch]: how sure a stage is, where images may leave after it
BOXES = "boxes"  # [batch, 4]: x0, y0, x1, y1 as shares of the view's side
DEPTH = "depth"  # [batch]: blocks that compute a token, mean over an image's tokens
EMBEDDING = "embedding"  # [batch, width]: what the classifier reads


class Stage(NamedTuple):
    """One graph.

    The first reads normalised images `[batch, 3, image_size, image_size]`, each other one what the
    stage before carries on, for those images that have not left.
    """

    module: nn.Module  # returns a tuple: the answers, then what it carries on
    answers: tuple[str, ...]  # names above, `PROBABILITIES` first
    carried: tuple[str, ...] = ()
    block: int | None = None  # after which it answers, where images may leave


class Graphs(NamedTuple):
    """A model as one graph, or as several with exits between them."""

    stages: list[Stage]
    criterion: str | None = None  # of the scores
    threshold: float | None = None  # an image leaves after the first stage whose score reaches it
    whole: Stage | None = None  # the plain network as one graph, to compare times with


class Probabilities(nn.Module):
    """A model whose output is logits, as a stage."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Probabilities `[batch, classes]`, float32."""
        return (self.model(images).float().softmax(dim=1),)


def plain(model: nn.Module) -> Graphs:
    """A model whose output is logits, as one graph."""
    return Graphs([Stage(Probabilities(model), (PROBABILITIES,))])
