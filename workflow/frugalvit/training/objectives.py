"""What training minimises. A method brings a model, an objective and a schedule to the one loop."""

from typing import Protocol

import torch.nn.functional as F
from torch import Tensor


class Objective(Protocol):
    """Turns a model's outputs into losses, and into the logits that accuracy is counted on."""

    def losses(self, outputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Scalar losses by name; `loss` is the one to minimise, the others are recorded."""
        ...

    def logits(self, outputs: Tensor) -> Tensor:
        """Logits `[batch, classes]` of the prediction."""
        ...


class Classification:
    """Cross-entropy of a plain classifier's logits `[batch, classes]`."""

    def __init__(self, label_smoothing: float = 0.0):
        self.label_smoothing = label_smoothing

    def losses(self, outputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The cross-entropy, as `loss`."""
        return {"loss": F.cross_entropy(outputs, labels, label_smoothing=self.label_smoothing)}

    def logits(self, outputs: Tensor) -> Tensor:
        """The outputs themselves."""
        return outputs
