"""What can be refused as soon as there is a base, where the configuration does not tell its shape."""

from typing import Any

from frugalvit.methods.avit.model import AViT
from frugalvit.methods.avit.reachable import check_halting
from frugalvit.models.backbone import architecture_of


def check(model: AViT, settings: dict[str, Any], how: dict[str, Any]) -> None:
    """A cost that no training reaches; see `methods.method.CheckPart`."""
    architecture = architecture_of(model.backbone)
    check_halting(settings["halting"], architecture, architecture["num_classes"])
