"""What can be refused as soon as there is a base and a test split."""

from typing import Any

from frugalvit.errors import within
from frugalvit.methods.avit.model import AViT
from frugalvit.methods.avit.objective import check_halting
from frugalvit.methods.avit.tables import check_indices
from frugalvit.methods.method import CheckedData
from frugalvit.models.backbone import architecture_of


def check(model: AViT, data: CheckedData, settings: dict[str, Any], how: dict[str, Any]) -> None:
    """A cost that no training reaches, images that are not there; see `methods.method.CheckPart`."""
    with within(data.at):
        check_halting(settings["halting"], architecture_of(model.backbone), data.num_classes)
        check_indices(data.options["depth_images"], len(data.ids("test")))
