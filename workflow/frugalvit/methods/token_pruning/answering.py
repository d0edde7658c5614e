"""Token pruning answering new images."""

from pathlib import Path
from typing import Any

from torchvision.models import VisionTransformer

from frugalvit.methods.method import Answering
from frugalvit.methods.token_pruning.points import timed
from frugalvit.methods.tokens.new_images import reading
from frugalvit.operating_point import Point


def answering(
    model: VisionTransformer, card: dict[str, Any], point: Point | None, folder: Path
) -> Answering:
    """See `methods.method.AnsweringPart`."""
    assert point is not None, "a run whose tokens leave has operating points"
    kept = {key: card["settings"][key] for key in ("prune_blocks", "select")}
    how = {"keep_tokens": [point.value], **kept}
    return reading(timed(model, [point], how, folder)[point.model])
