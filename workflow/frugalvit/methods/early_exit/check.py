"""What can be refused as soon as there are calibration images."""

from typing import Any

from frugalvit.methods.early_exit.model import EarlyExits
from frugalvit.methods.early_exit.targets import check_targets
from frugalvit.methods.method import CheckedData


def check(
    model: EarlyExits, data: CheckedData, settings: dict[str, Any], how: dict[str, Any]
) -> None:
    """Targets that these calibration images could never show; see `methods.method.CheckPart`."""
    check_targets(data.experiment, how, data.groups("calibration"))
