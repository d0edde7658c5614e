"""Early exits answering new images: each says after which block it left."""

from pathlib import Path
from typing import Any

from torch import Tensor

from frugalvit.checksums import check_noted
from frugalvit.files import read_json
from frugalvit.methods.early_exit.exiting import Exiting
from frugalvit.methods.early_exit.model import EarlyExits
from frugalvit.methods.method import Answered, Answering
from frugalvit.operating_point import Point


def answering(
    model: EarlyExits, card: dict[str, Any], point: Point | None, folder: Path
) -> Answering:
    """See `methods.method.AnsweringPart`."""
    assert point is not None, "a run with early exits has operating points"
    check_noted(folder / "calibration.json")
    temperatures = read_json(folder / "calibration.json")["temperatures"]

    def read(outputs: tuple[Tensor, Tensor]) -> Answered:
        answers, exits = outputs
        return Answered(answers, {"exit": [model.exit_after[place] for place in exits.tolist()]})

    return Answering(Exiting(model, *point.rule, temperatures), read, ("exit",))
