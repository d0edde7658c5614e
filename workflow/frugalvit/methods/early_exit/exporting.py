"""Early exits as graphs: one from each exit to the next, so that what leaves is computed no further."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from frugalvit.checksums import check_noted
from frugalvit.files import read_json
from frugalvit.methods.early_exit.criteria import log_probabilities, step_of
from frugalvit.methods.early_exit.model import EarlyExits
from frugalvit.methods.graphs import PROBABILITIES, SCORE, Graphs, Stage
from frugalvit.models.backbone import embed
from frugalvit.operating_point import NEVER, Point


class ToExit(nn.Module):
    """The blocks up to an exit, and that exit's answer.

    Args:
        model: in evaluation mode.
        before: the last block that earlier stages computed, 0 for none.
        block: after which the exit is.
        criterion: of the scores.
        temperature: of the exit.
        remembered: names of what the criterion knows of the exit before; none at the first.
    """

    def __init__(
        self,
        model: EarlyExits,
        before: int,
        block: int,
        criterion: str,
        temperature: float,
        remembered: tuple[str, ...],
    ):
        super().__init__()
        self.model = model
        self.before, self.block = before, block
        self.step, self.temperature = step_of(criterion), temperature
        self.remembered = remembered

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Probabilities and score, then tokens and what the criterion remembers.

        After the last block probabilities alone: there everything leaves.
        """
        model, tokens = self.model, inputs[0]
        if not self.before:
            tokens = embed(model.backbone, tokens)
        for layer in list(model.backbone.encoder.layers)[self.before : self.block]:
            tokens = layer(tokens)
        logits = model.exit_logits(self.block, tokens)
        known = dict(zip(self.remembered, inputs[1:])) if self.before else None
        score, answer, state = self.step(logits, self.temperature, known)
        if self.block == model.exit_after[-1]:
            return (answer.exp(),)
        return answer.exp(), score, tokens, *state.values()


class Whole(nn.Module):
    """The plain model, calibrated: what a point is that no exit is asked at."""

    def __init__(self, model: EarlyExits, temperature: float):
        super().__init__()
        self.backbone, self.temperature = model.backbone, temperature

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Probabilities `[batch, classes]`."""
        return (log_probabilities(self.backbone(images), self.temperature).exp(),)


def graphs(model: EarlyExits, card: dict[str, Any], point: Point | None, folder: Path) -> Graphs:
    """See `methods.graphs`."""
    assert point is not None, "a run with early exits has operating points"
    check_noted(folder / "calibration.json")
    temperatures = read_json(folder / "calibration.json")["temperatures"]
    criterion, threshold = point.rule
    last = model.exit_after[-1]
    whole = Stage(Whole(model, temperatures[-1]), (PROBABILITIES,), block=last)
    if threshold == NEVER:
        return Graphs([whole])
    remembered = _remembered(criterion, model.backbone.num_classes)
    stages, before = [], 0
    for block, temperature in zip(model.exit_after, temperatures):
        module = ToExit(model, before, block, criterion, temperature, remembered)
        if block == last:
            stages.append(Stage(module, (PROBABILITIES,), block=block))
        else:
            carried = ("tokens", *remembered)
            stages.append(Stage(module, (PROBABILITIES, SCORE), carried, block))
        before = block
    return Graphs(stages, criterion, threshold, whole)


def _remembered(criterion: str, num_classes: int) -> tuple[str, ...]:
    """Names of what a criterion remembers from one exit to the next."""
    return tuple(step_of(criterion)(torch.zeros(1, num_classes), 1.0, None)[2])
