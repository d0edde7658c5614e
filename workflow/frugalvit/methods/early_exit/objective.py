"""What a model with early exits minimises: the losses of all exits together."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from frugalvit.methods.early_exit.model import EarlyExits
from frugalvit.training.balance import cross_entropy
from frugalvit.training.objective import Objective
from frugalvit.training.parallel import Share


class ExitClassification:
    """Losses of all exits together, from logits `[batch, exits, classes]`, the full model's last.

    Each exit learns from the labels (cross-entropy) and from the full model's answer (distillation,
    Hinton et al. 2015: KL between distributions softened by a temperature, times its square; no
    gradient reaches the teacher). Exits weigh more the deeper they are (Shallow-Deep Networks, Kaya
    et al. 2019): the exit after block k of N weighs (k / N) ** `depth_power`, scaled to a mean of 1.

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
        class_weights: list[float] | None = None,
    ):
        self.blocks = list(blocks)
        weights = (torch.tensor(self.blocks) / self.blocks[-1]) ** depth_power
        self.exit_weights = weights / weights.mean()
        self.distillation = distillation
        self.label_smoothing = label_smoothing
        self.class_weights = class_weights
        self.weights: dict[str, float] = {}
        self.in_parts = True
        self.stalls_on = "loss"

    def losses(self, outputs: Tensor, labels: Tensor, images: Tensor) -> dict[str, Tensor]:
        """`loss`, and its parts `cross_entropy` and `distillation`, means over exits and images."""
        outputs = outputs.float()
        weights = self.exit_weights.to(outputs.device)
        how = (self.label_smoothing, self.class_weights)
        crossed = torch.stack(
            [cross_entropy(logits, labels, *how) for logits in outputs.unbind(dim=1)]
        )
        temperature, share = self.distillation["temperature"], self.distillation["weight"]
        teacher = (outputs[:, -1:].detach() / temperature).log_softmax(dim=-1)
        student = (outputs[:, :-1] / temperature).log_softmax(dim=-1)
        divergence = (teacher.exp() * (teacher - student)).sum(dim=-1).mean(dim=0)
        divergence = divergence * temperature**2
        # The full model has no teacher: its cross-entropy counts whole.
        mixed = torch.cat([(1 - share) * crossed[:-1] + share * divergence, crossed[-1:]])
        return {
            "loss": (weights * mixed).mean(),
            "cross_entropy": (weights * crossed).mean().detach(),
            "distillation": (weights[:-1] * divergence).mean().detach(),
        }

    def counts(self, outputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """`accuracy`, the mean over exits weighted as their losses are, and each exit's own."""
        right = (outputs.argmax(dim=-1) == labels[:, None]).sum(dim=0).float()
        mean = (self.exit_weights.to(right.device) * right).mean()
        own = {f"accuracy_exit_{block}": count for block, count in zip(self.blocks, right)}
        return {"accuracy": mean, **own}

    def predicted(self, outputs: Tensor) -> Tensor:
        """The full model's answer."""
        return outputs[:, -1].argmax(dim=1)

    def of_split(self, predicted: Tensor, labels: Tensor) -> dict[str, float]:
        """No further measures."""
        return {}

    def score(self, measures: dict[str, float]) -> list[float]:
        """Accuracy, then loss."""
        return [measures["accuracy"], -measures["loss"]]

    def lines(self, measures: dict[str, float]) -> list[str]:
        """The accuracy of each exit."""
        found = ", ".join(
            f"{measures[f'accuracy_exit_{block}']:.4f} ({block})" for block in self.blocks
        )
        return [f"  accuracy of exits (after block): {found}"]


class Objectives:
    """Objectives of a run with early exits; see `training.objective.Objectives`."""

    def __init__(self, model: EarlyExits, settings: dict, teacher: nn.Module | None):
        self._how = (model.exit_after, settings["depth_power"], settings["distillation"])

    def training(self, phase: dict, history: list[dict], share: Share) -> Objective:
        """All exits' losses, labels smoothed."""
        return ExitClassification(*self._how, phase["label_smoothing"], phase.get("class_weights"))

    def validation(self, phase: dict, history: list[dict]) -> Objective:
        """All exits' losses."""
        return ExitClassification(*self._how)
