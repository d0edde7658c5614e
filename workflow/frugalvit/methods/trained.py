"""The model of a run: as its settings say before it trains, and from its folder afterwards."""

import json
from pathlib import Path

from torch import nn
from torchvision.models import VisionTransformer

from frugalvit.methods.avit.model import AViT
from frugalvit.methods.early_exit.model import EarlyExits, exit_blocks
from frugalvit.models.backbone import architecture_of, backbone_of, build
from frugalvit.models.base import build_from_base
from frugalvit.models.stochastic_depth import add_stochastic_depth
from frugalvit.models.weights.tensors import load_into

Model = VisionTransformer | EarlyExits | AViT
HALTING = ("gamma", "beta", "eps")


def start_run(settings: dict, base: Path, source: Path | None, num_classes: int) -> Model:
    """The model that a run begins with; fresh heads draw from torch's global generator.

    Args:
        settings: the run's: `method`, `dropout`, `stochastic_depth`, and where they are set
            `keep_blocks`, `exits`, `exit_head` and `halting`.
        base: the base's folder.
        source: folder of the run whose model is taken in place of the base.
        num_classes: of a fresh head.

    Raises:
        ConfigError: more blocks kept than there are, or an exit beyond them. The message lacks the
            key, which the caller knows.
    """
    dropout = settings["dropout"]
    if source:
        backbone = backbone_of(load_run(source, dropout)[0])
    else:
        backbone = build_from_base(
            base, num_classes, dropout=dropout, num_layers=settings.get("keep_blocks")
        )
    if settings["stochastic_depth"]:
        add_stochastic_depth(backbone, settings["stochastic_depth"])
    if settings["method"] == "avit":
        return AViT(backbone, *(settings["halting"][key] for key in HALTING))
    if settings["method"] != "early_exit":
        return backbone
    exits = exit_blocks(settings["exits"], len(backbone.encoder.layers))
    return EarlyExits(backbone, exits, settings["exit_head"])


def describe(model: nn.Module) -> dict:
    """What a card says of a model, for `load_run`: `architecture`, and `exits` or `halting`, if any."""
    described = {"architecture": architecture_of(backbone_of(model))}
    if isinstance(model, AViT):
        described["halting"] = {key: getattr(model, key) for key in HALTING}
    if isinstance(model, EarlyExits):
        described["exits"] = {"after": model.exit_after, "head": model.head}
    return described


def load_run(folder: Path, dropout: float = 0.0) -> tuple[Model, dict]:
    """A trained run's model, and its card."""
    card = json.loads((folder / "card.json").read_text())
    architecture = card["architecture"]
    model: Model = build(architecture, architecture["num_classes"], dropout=dropout)
    if "exits" in card:
        model = EarlyExits(model, card["exits"]["after"], card["exits"]["head"])
    if "halting" in card:
        model = AViT(model, **card["halting"])
    load_into(model, folder / "weights.safetensors")
    return model, card
