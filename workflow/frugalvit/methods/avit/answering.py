"""A-ViT answering new images: each says how deep its tokens went."""

from pathlib import Path
from typing import Any

from frugalvit.methods.avit.model import AViT
from frugalvit.methods.avit.points import timed
from frugalvit.methods.method import Answering
from frugalvit.methods.tokens.new_images import reading
from frugalvit.operating_point import Point


def answering(model: AViT, card: dict[str, Any], point: Point | None, folder: Path) -> Answering:
    """See `methods.method.AnsweringPart`."""
    assert point is not None, "a run whose tokens halt has operating points"
    trained = card["settings"]["halting"]["eps"]
    how = {"eps": trained, "inference_eps": {point.value} - {trained}}
    return reading(timed(model, [point], how, folder)[point.model], ("depth",))
