"""What training from scratch minimises: cross-entropy, or squared errors of one-hot targets."""

import torch.nn.functional as F
from torch import Tensor, nn

from frugalvit.training.balance import weighted_mean
from frugalvit.training.objective import Classification, Objective, one_hot
from frugalvit.training.parallel import Share


class SquaredError(Classification):
    """Mean squared error of outputs `[batch, classes]` against (smoothed) one-hot targets."""

    def losses(self, outputs: Tensor, labels: Tensor, images: Tensor) -> dict[str, Tensor]:
        """The mean over images and classes, as `loss`."""
        targets = one_hot(labels, outputs.shape[1])
        if self.label_smoothing:
            targets = targets.lerp(targets.new_tensor(1 / outputs.shape[1]), self.label_smoothing)
        each = F.mse_loss(outputs.float(), targets, reduction="none").mean(dim=1)
        return {"loss": weighted_mean(each, labels, self.class_weights)}


class Objectives:
    """Objectives of a network's run; see `training.objective.Objectives`."""

    def __init__(self, model: nn.Module, settings: dict, teacher: nn.Module | None):
        self.kind = SquaredError if settings["loss"] == "mse" else Classification

    def training(self, phase: dict, history: list[dict], share: Share) -> Objective:
        """With smoothed labels."""
        return self.kind(phase["label_smoothing"], phase.get("class_weights"))

    def validation(self, phase: dict, history: list[dict]) -> Objective:
        """With labels as they are."""
        return self.kind()
