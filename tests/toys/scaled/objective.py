"""Cross-entropy."""

from torch import nn

from frugalvit.training.objective import Classification, Objective
from frugalvit.training.parallel import Share


class Objectives:
    """Of a run."""

    def __init__(self, model: nn.Module, settings: dict, teacher: nn.Module | None):
        pass

    def training(self, phase: dict, history: list[dict], share: Share) -> Objective:
        """To train with."""
        return Classification(phase["label_smoothing"])

    def validation(self, phase: dict, history: list[dict]) -> Objective:
        """To validate with."""
        return Classification()
