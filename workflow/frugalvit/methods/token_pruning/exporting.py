"""Token pruning as a graph: as many tokens stay of every image, so shapes are known."""

from pathlib import Path
from typing import Any

from torchvision.models import VisionTransformer

from frugalvit.errors import ConfigError
from frugalvit.methods.graphs import Graphs, plain
from frugalvit.methods.token_pruning.answering import answering
from frugalvit.operating_point import Point


def graphs(
    model: VisionTransformer, card: dict[str, Any], point: Point | None, folder: Path
) -> Graphs:
    """See `methods.graphs`.

    Raises:
        ConfigError: tokens are kept at random.
    """
    if card["settings"]["select"] == "random":
        raise ConfigError(
            f"{folder}: select: random draws from the exact bits of a sum over an image, which other "
            "programs add in another order; export a run that keeps tokens by attention or key_norm"
        )
    return plain(answering(model, card, point, folder).module)
