"""What a model with halting tokens minimises, and how a wished cost becomes a weight."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from frugalvit.methods.avit.model import AViT, Halted, target_distribution, tokens_per_block
from frugalvit.models.backbone import architecture_of
from frugalvit.models.flops import vit_flops
from frugalvit.training.balance import cross_entropy
from frugalvit.training.objective import Classification, Objective
from frugalvit.training.parallel import Share
from frugalvit.words import heads_alone

TINY = 1e-8  # below this share the logarithm of a halting distribution is cut, with its gradient
TOLERANCE = 0.02  # over the target; an epoch is not given up for less
AIM = 0.98  # of the target: aiming at the target itself would miss it half the time
STEEPNESS = 5.0  # e-foldings of the ponder weight for a cost at twice the target
LARGEST_STEP = math.log(4.0)  # of the ponder weight between two epochs


def _batch_mean(values: Tensor) -> Tensor:
    return values.mean(dim=0)


class WarmUp(Classification):
    """A head phase before halting sets in: none of its epochs is worth keeping."""

    def score(self, measures: dict[str, float]) -> list[float]:
        """Below every epoch in which tokens halt."""
        return [-math.inf, measures["accuracy"], -measures["loss"]]


class HaltingClassification:
    """Task, ponder and distribution loss (A-ViT, Yin et al. 2022, equations 7 to 11).

    loss = task + alpha_ponder * ponder + alpha_distribution * KL(H || T), where ponder is the mean
    over images and tokens of blocks gone through plus remainder, H the mean over the batch's images
    and tokens of the probability to halt after each block, and T a discretised normal. Both sum to 1.

    Args:
        architecture: the backbone's.
        num_classes: of the head.
        halting: the run's settings: `alpha_distribution`, `expected_depth`, `depth_std`,
            `target_gflops`.
        alpha_ponder: weight of the ponder loss in this epoch.
        distillation: `weight` (share of the task loss) and `temperature`.
        teacher: model whose answers are learned besides the labels; None for the labels only.
        label_smoothing: of the cross-entropy.
        mean: over a batch's images `[images, ...]`, of which only some lie here where several
            processes train; H is the whole batch's.
    """

    def __init__(
        self,
        architecture: dict[str, Any],
        num_classes: int,
        halting: dict[str, Any],
        alpha_ponder: float,
        distillation: dict[str, Any],
        teacher: nn.Module | None = None,
        label_smoothing: float = 0.0,
        mean: Callable[[Tensor], Tensor] = _batch_mean,
        class_weights: list[float] | None = None,
    ):
        self.mean = mean
        self.class_weights = class_weights
        self.architecture = architecture
        self.num_classes = num_classes
        self.halting = halting
        self.distillation = distillation
        self.teacher = teacher
        self.label_smoothing = label_smoothing
        self.weights = {"alpha_ponder": alpha_ponder}
        self.in_parts = False  # of the distribution's mean over the batch a logarithm is taken
        # A weight that is tuned moves the whole loss, which then says nothing of progress.
        self.stalls_on = "task" if halting["target_gflops"] else "loss"
        self.target = target_distribution(
            architecture["num_layers"], halting["expected_depth"], halting["depth_std"]
        )

    def losses(self, outputs: Halted, labels: Tensor, images: Tensor) -> dict[str, Tensor]:
        """`loss`, and its parts `task`, `ponder`, `distribution` and, with a teacher, `distillation`."""
        logits = outputs.logits.float()
        task = cross_entropy(logits, labels, self.label_smoothing, self.class_weights)
        parts = {"task": task}
        if self.teacher is not None:
            temperature, share = self.distillation["temperature"], self.distillation["weight"]
            with torch.no_grad():
                answers = (self.teacher(images).float() / temperature).log_softmax(dim=-1)
            student = (logits / temperature).log_softmax(dim=-1)
            learned = F.kl_div(student, answers, reduction="batchmean", log_target=True)
            parts["distillation"] = learned * temperature**2
            task = (1 - share) * task + share * parts["distillation"]
        parts["ponder"] = outputs.ponder.mean()
        parts["distribution"] = divergence(self.mean(outputs.halting), self.target)
        loss = (
            task
            + self.weights["alpha_ponder"] * parts["ponder"]
            + self.halting["alpha_distribution"] * parts["distribution"]
        )
        return {"loss": loss, **{name: part.detach() for name, part in parts.items()}}

    def counts(self, outputs: Halted, labels: Tensor) -> dict[str, Tensor]:
        """Images answered right, `accuracy`, and the cost of live tokens only, `gflops`."""
        counts = tokens_per_block(outputs.depths, self.architecture["num_layers"])
        gflops = vit_flops(self.architecture, self.num_classes, counts.unbind(dim=1))
        return {"accuracy": (self.predicted(outputs) == labels).sum(), "gflops": gflops.sum()}

    def predicted(self, outputs: Halted) -> Tensor:
        """The class of the largest logit."""
        return outputs.logits.argmax(dim=1)

    def of_split(self, predicted: Tensor, labels: Tensor) -> dict[str, float]:
        """Macro-F1 over the classes that occur, as `macro_f1`."""
        # Imported here alone: it costs each training job a second, and other methods do without.
        from torchmetrics.functional.classification import multiclass_f1_score

        return {"macro_f1": multiclass_f1_score(predicted, labels, self.num_classes).item()}

    def score(self, measures: dict[str, float]) -> list[float]:
        """The loss, which weighs cost against accuracy; with a target how far it is missed first.

        By accuracy only, the best epoch would be one in which no token halts yet.
        """
        target = self.halting["target_gflops"]
        if target is None:
            return [0.0, -measures["loss"], measures["accuracy"]]
        excess = max(0.0, measures["gflops"] / target - 1 - TOLERANCE)
        return [-excess, measures["accuracy"], -measures["loss"]]

    def lines(self, measures: dict[str, float]) -> list[str]:
        """The cost, beside the target where there is one, and the ponder weight that made it."""
        target = self.halting["target_gflops"]
        aim = f" (target {target:g})" if target else ""
        return [
            f"  {measures['gflops']:.4g} GFLOPs an image{aim}, ponder {measures['ponder']:.2f}, "
            f"alpha_ponder {self.weights['alpha_ponder']:.3g}"
        ]


def divergence(halting: Tensor, target: Tensor) -> Tensor:
    """KL(halting || target) in nats, of distributions over blocks `[blocks]`.

    Shares below `TINY` are cut inside the logarithms: a block at which nothing halts adds nothing,
    and its gradient stays finite.
    """
    target = target.to(halting.device)
    return (halting * (halting.clamp_min(TINY).log() - target.clamp_min(TINY).log())).sum()


def ponder_weight(halting: dict[str, Any], history: Sequence[dict]) -> float:
    """alpha_ponder of the next epoch, from the epochs before it only, so that it resumes exactly.

    With `target_gflops` the weight grows while validation images cost more than `AIM` times that and
    shrinks while they cost less: by e ** (`STEEPNESS` * relative miss), at most a factor 4 an epoch.

    Args:
        halting: the run's settings: `alpha_ponder`, `target_gflops`.
        history: rows of the epochs so far; those of head phases lack the weight, and those that were
            not validated the cost: the weight stays until the next one.
    """
    done = [row for row in history if row.get("alpha_ponder") is not None]
    if not done or halting["target_gflops"] is None:
        return halting["alpha_ponder"]
    if done[-1].get("valid_gflops") is None:
        return done[-1]["alpha_ponder"]
    miss = done[-1]["valid_gflops"] / (AIM * halting["target_gflops"]) - 1
    step = max(-LARGEST_STEP, min(LARGEST_STEP, STEEPNESS * miss))
    return done[-1]["alpha_ponder"] * math.exp(step)


class Objectives:
    """Objectives of a run whose tokens halt; see `training.objective.Objectives`."""

    def __init__(self, model: AViT, settings: dict, teacher: nn.Module | None):
        self.architecture = architecture_of(model.backbone)
        self.settings = settings
        self.teacher = teacher

    def training(self, phase: dict, history: list[dict], share: Share) -> Objective:
        """All losses, with the halting of the whole batch; only cross-entropy while only heads train."""
        smoothing, weights = phase["label_smoothing"], phase.get("class_weights")
        if heads_alone(phase["train"]):
            return WarmUp(smoothing, weights)
        return self._made(history, self.teacher, smoothing, share.mean, weights)

    def validation(self, phase: dict, history: list[dict]) -> Objective:
        """The same losses, of the labels only."""
        return WarmUp() if heads_alone(phase["train"]) else self._made(history)

    def _made(self, history: list[dict], *of_training: Any) -> HaltingClassification:
        halting = self.settings["halting"]
        return HaltingClassification(
            self.architecture,
            self.architecture["num_classes"],
            halting,
            ponder_weight(halting, history),
            self.settings["distillation"],
            *of_training,
        )
