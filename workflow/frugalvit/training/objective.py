"""What training minimises. A method brings a model, an objective and a schedule to the one loop."""

from pathlib import Path
from typing import Any, Protocol

import torch.nn.functional as F
from torch import Tensor, nn

from frugalvit.training.balance import cross_entropy
from frugalvit.training.parallel import Share


class Objective(Protocol):
    """Turns a model's outputs into losses, and into counts that add up to measures of a split."""

    weights: dict[str, float]  # in force this epoch, recorded in the history
    in_parts: (
        bool  # `loss` is a mean over images: the gradients of parts of a batch add up to its own
    )
    stalls_on: str  # the loss whose stalling lowers the rate under lr_schedule plateau

    def losses(self, outputs: Any, labels: Tensor, images: Tensor) -> dict[str, Tensor]:
        """Scalar losses by name; `loss` is the one to minimise, the others are recorded."""
        ...

    def counts(self, outputs: Any, labels: Tensor) -> dict[str, Tensor]:
        """Sums over the batch that are divided by the number of images; `accuracy` among them."""
        ...

    def predicted(self, outputs: Any) -> Tensor:
        """Classes `[batch]` that the model answers."""
        ...

    def of_split(self, predicted: Tensor, labels: Tensor) -> dict[str, float]:
        """Measures of a whole split that are no mean over its images, from classes `[images]`."""
        ...

    def score(self, measures: dict[str, float]) -> list[float]:
        """How good an epoch is by its validation measures, the larger the better, the last item
        breaking ties that early stopping ignores; lists of one run compare with each other.
        """
        ...

    def lines(self, measures: dict[str, float]) -> list[str]:
        """What the log says after validation besides loss and accuracy."""
        ...


class Objectives(Protocol):
    """Makes the objectives of each epoch of a run, from its phase and the epochs before."""

    def training(self, phase: dict, history: list[dict], share: Share) -> Objective:
        """To train with this share of each batch; labels are smoothed, and a teacher is asked."""
        ...

    def validation(self, phase: dict, history: list[dict]) -> Objective:
        """To validate with: labels as they are, and nobody else asked."""
        ...


class Recipe(Protocol):
    """What the loop has to be told of a method: its model and its objectives."""

    @property
    def boxed(self) -> bool:
        """Whether runs learn boxes: labels are then targets (`data.boxes`)."""
        ...

    def start(
        self,
        settings: dict,
        base: Path | None,
        source: Path | None,
        num_classes: int,
        network: Path | None = None,
    ) -> nn.Module:
        """The model that a run begins with: the base, or the run in `source`, adapted; or a network of
        its own, random or with the weights in `network`.
        """
        ...

    def load(self, folder: Path) -> nn.Module:
        """A trained run's model, of whatever method."""
        ...

    def objectives(self, model: nn.Module, settings: dict, teacher: nn.Module | None) -> Objectives:
        """Objectives of a run's epochs; the teacher is another run's model in evaluation mode."""
        ...

    def describe(self, model: nn.Module) -> dict[str, Any]:
        """What its card says of the model."""
        ...


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Targets, float32 `[batch, classes]`, of labels `[batch]`; of mixed images' they are as given."""
    return F.one_hot(labels, classes).float() if labels.ndim == 1 else labels


class Classification:
    """Cross-entropy of a plain classifier's logits `[batch, classes]`.

    Labels are `[batch]`, or of mixed images the share of each class, `[batch, classes]`.
    """

    def __init__(self, label_smoothing: float = 0.0, class_weights: list[float] | None = None):
        self.label_smoothing = label_smoothing
        self.class_weights = class_weights
        self.weights: dict[str, float] = {}
        self.in_parts = True
        self.stalls_on = "loss"

    def losses(self, outputs: Tensor, labels: Tensor, images: Tensor) -> dict[str, Tensor]:
        """The cross-entropy, as `loss`."""
        how = (self.label_smoothing, self.class_weights)
        return {"loss": cross_entropy(outputs, labels, *how)}

    def counts(self, outputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Images answered right, as `accuracy`; of mixed ones, whose largest share was answered."""
        largest = labels if labels.ndim == 1 else labels.argmax(dim=1)
        return {"accuracy": (outputs.argmax(dim=1) == largest).sum()}

    def predicted(self, outputs: Tensor) -> Tensor:
        """The class of the largest logit."""
        return outputs.argmax(dim=1)

    def of_split(self, predicted: Tensor, labels: Tensor) -> dict[str, float]:
        """No further measures."""
        return {}

    def score(self, measures: dict[str, float]) -> list[float]:
        """Accuracy, then loss."""
        return [measures["accuracy"], -measures["loss"]]

    def lines(self, measures: dict[str, float]) -> list[str]:
        """Nothing more to say."""
        return []
