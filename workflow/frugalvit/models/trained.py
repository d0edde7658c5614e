"""A trained run's model, from its folder."""

import json
from pathlib import Path

from torchvision.models import VisionTransformer

from frugalvit.models.backbone import build
from frugalvit.models.files import load_into


def load_run(folder: Path) -> tuple[VisionTransformer, dict]:
    """A trained run's model, and its card."""
    card = json.loads((folder / "card.json").read_text())
    architecture = card["architecture"]
    model = build(architecture, architecture["num_classes"])
    load_into(model, folder / "weights.safetensors")
    return model, card
