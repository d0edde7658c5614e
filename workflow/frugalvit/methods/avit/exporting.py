"""A-ViT as a graph: with halted tokens masked, for a graph's shapes cannot depend on an image."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from frugalvit.errors import ConfigError
from frugalvit.methods.avit.model import AViT
from frugalvit.methods.avit.points import timed
from frugalvit.methods.graphs import DEPTH, PROBABILITIES, Graphs, Stage
from frugalvit.operating_point import Point


class Masked(nn.Module):
    """The masked model's answers, and how deep its tokens go."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities `[batch, classes]` and depth `[batch]` (blocks)."""
        found = self.model(images)
        return found.logits.float().softmax(dim=1), found.depths.float().mean(dim=1)


def graphs(model: AViT, card: dict[str, Any], point: Point | None, folder: Path) -> Graphs:
    """See `methods.graphs`.

    Raises:
        ConfigError: the point removes halted tokens.
    """
    assert point is not None, "a run whose tokens halt has operating points"
    eps = card["settings"]["halting"]["eps"]
    if point.setting != "masked":
        raise ConfigError(
            f"--point: '{point.name}' removes halted tokens, and a graph's shapes cannot depend on what "
            f"an image shows; export --point 'masked {eps:g}', which answers as 'packed {eps:g}' does "
            "and saves no time"
        )
    masked = timed(model, [point], {"eps": eps, "inference_eps": []}, folder)[point.model]
    return Graphs([Stage(Masked(masked), (PROBABILITIES, DEPTH))])
