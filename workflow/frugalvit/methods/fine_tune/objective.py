"""What fine-tuning minimises: cross-entropy."""

from torch import nn

from frugalvit.training.objective import Classification, Objective
from frugalvit.training.parallel import Share


class Objectives:
    """Objectives of a plain model's run; see `training.objective.Objectives`."""

    def __init__(self, model: nn.Module, settings: dict, teacher: nn.Module | None):
        pass

    def training(self, phase: dict, history: list[dict], share: Share) -> Objective:
        """Cross-entropy of smoothed labels."""
        return Classification(phase["label_smoothing"], phase.get("class_weights"))

    def validation(self, phase: dict, history: list[dict]) -> Objective:
        """Cross-entropy."""
        return Classification()
