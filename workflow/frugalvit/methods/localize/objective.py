"""What localization minimises: cross-entropy / C + box loss."""

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import box_convert, generalized_box_iou_loss

from frugalvit.data.boxes import split_targets
from frugalvit.methods.localize.measures import measures
from frugalvit.methods.localize.model import answers_of
from frugalvit.training.balance import cross_entropy
from frugalvit.training.objective import Objective
from frugalvit.training.parallel import Share

LEAST = 1e-4  # side of a box, below which its GIoU has no gradient
_OF_SIZES = {"mse": F.mse_loss, "l1": F.l1_loss, "smooth_l1": F.smooth_l1_loss}


def box_loss(predicted: Tensor, true: Tensor, weights: Mapping[str, float]) -> Tensor:
    """Weighted sum of losses, mean over boxes; 0 of none.

    Args:
        predicted: `[boxes, 4]`, x0, y0, x1, y1.
        true: `[boxes, 4]`, without NaN.
        weights: loss -> weight.
    """
    total = predicted.sum() * 0.0
    if not len(true):
        return total
    sizes, wanted = (box_convert(boxes, "xyxy", "cxcywh") for boxes in (predicted, true))
    for name, weight in weights.items():
        if name == "giou":
            low, high = predicted.split(2, dim=1)
            whole = torch.cat([low, torch.maximum(high, low + LEAST)], dim=1)
            total = total + weight * generalized_box_iou_loss(whole, true, reduction="mean")
        else:
            total = total + weight * _OF_SIZES[name](sizes, wanted)
    return total


class Localization:
    """Loss of class and box of outputs `[batch, classes + 4 + 2]`; labels are targets `[batch, 5]`."""

    def __init__(
        self,
        how: Mapping[str, Any],
        label_smoothing: float = 0.0,
        class_weights: list[float] | None = None,
    ):
        self.how = how
        self.label_smoothing = label_smoothing
        self.class_weights = class_weights
        self.weights: dict[str, float] = {}
        self.in_parts = False  # the box loss is a mean over the boxes that are in view
        self.stalls_on = "loss"

    def losses(self, outputs: Tensor, labels: Tensor, images: Tensor) -> dict[str, Tensor]:
        """`loss`, and its parts `class_loss` and `box_loss`, not weighed."""
        answers = answers_of(outputs)
        classes, true = split_targets(labels)
        known = ~true.isnan().any(dim=1)
        crossed = cross_entropy(answers.logits, classes, self.label_smoothing, self.class_weights)
        boxed = box_loss(answers.boxes[known], true[known], self.how["box_loss"])
        if self.how["class_divisor"] == "balanced":
            class_variance, box_variance = answers.log_variances.mean(dim=0)
            loss = (-class_variance).exp() * crossed + (-box_variance).exp() * boxed
            loss = loss + class_variance + box_variance
        else:
            # Learned variances take part in no loss, but every parameter must get a gradient.
            loss = crossed / self.how["class_divisor"] + boxed + answers.log_variances.sum() * 0.0
        return {"loss": loss, "class_loss": crossed, "box_loss": boxed}

    def counts(self, outputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Images answered right, as `accuracy`."""
        right = answers_of(outputs).logits.argmax(dim=1) == split_targets(labels)[0]
        return {"accuracy": right.sum()}

    def predicted(self, outputs: Tensor) -> Tensor:
        """Class and box `[batch, 5]`."""
        answers = answers_of(outputs)
        return torch.cat([answers.logits.argmax(dim=1, keepdim=True).float(), answers.boxes], dim=1)

    def of_split(self, predicted: Tensor, labels: Tensor) -> dict[str, float]:
        """IoU over the split, see `localize.measures`."""
        return measures(predicted, labels)

    def score(self, measures: dict[str, float]) -> list[float]:
        """Class right and box found, then the overlap, then loss; without any box the class alone."""
        if math.isnan(measures["joint"]):
            return [measures["accuracy"], 0.0, -measures["loss"]]
        joint, overlap = measures["joint"], measures["mean_iou"]
        return [joint, measures["iou_75"] + measures["iou_90"] + overlap, -measures["loss"]]

    def lines(self, measures: dict[str, float]) -> list[str]:
        """The shares of boxes."""
        shares = ", ".join(f"{measures[name]:.4f} at IoU >= .{name[4:]}" for name in
                           ("iou_50", "iou_75", "iou_90"))  # fmt: skip
        return [
            f"  boxes: mean IoU {measures['mean_iou']:.4f}, {shares}; joint {measures['joint']:.4f}"
        ]


class Objectives:
    """Objectives of a localizer's run; see `training.objective.Objectives`."""

    def __init__(self, model: nn.Module, settings: dict, teacher: nn.Module | None):
        self.how = settings["localize"]

    def training(self, phase: dict, history: list[dict], share: Share) -> Objective:
        """With smoothed labels."""
        return Localization(self.how, phase["label_smoothing"], phase.get("class_weights"))

    def validation(self, phase: dict, history: list[dict]) -> Objective:
        """With labels as they are."""
        return Localization(self.how)
