"""What training minimises. A method brings a model, an objective and a schedule to the one loop."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from frugalvit.training.parallel import Share


class Objective(Protocol):
    """Turns a model's outputs into losses, and into counts that add up to measures of a split."""

    weights: dict[str, float]  # in force this epoch, recorded in the history
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


class MakeObjective(Protocol):
    """Makes the objective of an epoch."""

    def __call__(self, phase: dict, history: list[dict], share: Share | None) -> Objective:
        """From the phase's settings and the epochs before; to train with this share of each batch,
        or, without one, to validate with.
        """
        ...


class Classification:
    """Cross-entropy of a plain classifier's logits `[batch, classes]`."""

    def __init__(self, label_smoothing: float = 0.0):
        self.label_smoothing = label_smoothing
        self.weights: dict[str, float] = {}
        self.stalls_on = "loss"

    def losses(self, outputs: Tensor, labels: Tensor, images: Tensor) -> dict[str, Tensor]:
        """The cross-entropy, as `loss`."""
        return {"loss": F.cross_entropy(outputs, labels, label_smoothing=self.label_smoothing)}

    def counts(self, outputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Images answered right, as `accuracy`."""
        return {"accuracy": (outputs.argmax(dim=1) == labels).sum()}

    def predicted(self, outputs: Tensor) -> Tensor:
        """The class of the largest logit."""
        return outputs.argmax(dim=1)

    def of_split(self, predicted: Tensor, labels: Tensor) -> dict[str, float]:
        """None."""
        return {}

    def score(self, measures: dict[str, float]) -> list[float]:
        """Accuracy, then loss."""
        return [measures["accuracy"], -measures["loss"]]

    def lines(self, measures: dict[str, float]) -> list[str]:
        """Nothing more to say."""
        return []


class ExitClassification:
    """Losses of all exits together, from logits `[batch, exits, classes]`, the full model's last.

    Each exit learns from the labels (cross-entropy) and from the full model's answer (distillation,
    Hinton et al. 2015: KL between distributions softened by a temperature, times its square; no
    gradient reaches the teacher). Exits weigh more the deeper they are (Shallow-Deep Networks, Kaya
    et al. 2019): exit after block k of N by (k / N) ** `depth_power`, scaled to a mean of 1.

    Args:
        blocks: the block of each exit, ascending.
        depth_power: 0 weighs all exits alike.
        distillation: `weight` (share of the loss, 0 to 1) and `temperature`.
        label_smoothing: of the cross-entropy.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        depth_power: float,
        distillation: dict,
        label_smoothing: float = 0.0,
    ):
        self.blocks = list(blocks)
        weights = (torch.tensor(self.blocks) / self.blocks[-1]) ** depth_power
        self.exit_weights = weights / weights.mean()
        self.distillation = distillation
        self.label_smoothing = label_smoothing
        self.weights: dict[str, float] = {}
        self.stalls_on = "loss"
        self._example: tuple[Tensor, Tensor] | None = None

    def losses(self, outputs: Tensor, labels: Tensor, images: Tensor) -> dict[str, Tensor]:
        """`loss`, and its parts `cross_entropy` and `distillation`, means over exits and images."""
        outputs = outputs.float()
        weights = self.exit_weights.to(outputs.device)
        cross_entropy = torch.stack(
            [
                F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
                for logits in outputs.unbind(dim=1)
            ]
        )
        temperature, share = self.distillation["temperature"], self.distillation["weight"]
        teacher = (outputs[:, -1:].detach() / temperature).log_softmax(dim=-1)
        student = (outputs[:, :-1] / temperature).log_softmax(dim=-1)
        divergence = (teacher.exp() * (teacher - student)).sum(dim=-1).mean(dim=0)
        divergence = divergence * temperature**2
        # The full model has no teacher: its cross-entropy counts whole.
        mixed = torch.cat(
            [(1 - share) * cross_entropy[:-1] + share * divergence, cross_entropy[-1:]]
        )
        return {
            "loss": (weights * mixed).mean(),
            "cross_entropy": (weights * cross_entropy).mean().detach(),
            "distillation": (weights[:-1] * divergence).mean().detach(),
        }

    def counts(self, outputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """`accuracy`, the mean over exits weighted as their losses are, and each exit's own."""
        if self._example is None:
            self._example = (outputs[0].detach().float().softmax(dim=-1), labels[0])
        right = (outputs.argmax(dim=-1) == labels[:, None]).sum(dim=0).float()
        mean = (self.exit_weights.to(right.device) * right).mean()
        own = {f"accuracy_exit_{block}": count for block, count in zip(self.blocks, right)}
        return {"accuracy": mean, **own}

    def predicted(self, outputs: Tensor) -> Tensor:
        """The full model's answer."""
        return outputs[:, -1].argmax(dim=1)

    def of_split(self, predicted: Tensor, labels: Tensor) -> dict[str, float]:
        """None."""
        return {}

    def score(self, measures: dict[str, float]) -> list[float]:
        """Accuracy, then loss."""
        return [measures["accuracy"], -measures["loss"]]

    def lines(self, measures: dict[str, float]) -> list[str]:
        """For each exit its accuracy, and what it says of the first image."""
        if self._example is None:
            return []
        probabilities, label = self._example
        largest, predicted = probabilities.max(dim=-1)
        return [
            f"  exit after block {block}: accuracy {measures[f'accuracy_exit_{block}']:.4f} | first "
            f"image: largest probability {largest[place]:.4f}, predicted {int(predicted[place])}, "
            f"actual {int(label)}"
            for place, block in enumerate(self.blocks)
        ]
