"""How well boxes are found, over a whole split."""

import torch
from torch import Tensor
from torchvision.ops import box_iou

from frugalvit.data.boxes import split_targets
from frugalvit.methods.localize.marks import JOINT, SHARES


def overlaps(predicted: Tensor, true: Tensor) -> Tensor:
    """IoU `[images]` (float64) of boxes `[images, 4]`; NaN where an image has none."""
    if not len(true):
        return torch.empty(0, dtype=torch.float64)
    low, high = predicted.double().split(2, dim=1)
    predicted = torch.cat([torch.minimum(low, high), torch.maximum(low, high)], dim=1)
    paired = zip(predicted, true.double())
    return torch.stack([box_iou(one[None], other[None])[0, 0] for one, other in paired])


def measures(predicted: Tensor, targets: Tensor) -> dict[str, float]:
    """`mean_iou`, shares of boxes at IoU of `SHARES` or more, `joint`: also the class right, IoU >= .5.

    Images without a box are left out; of none every measure is NaN.

    Args:
        predicted: `[images, 5]`, class and box.
        targets: `[images, 5]` (`data.boxes`).
    """
    (answers, boxes), (labels, true) = split_targets(predicted), split_targets(targets)
    known = ~true.isnan().any(dim=1)
    found = overlaps(boxes[known], true[known])
    right = answers[known] == labels[known]
    return {
        "mean_iou": found.mean().item(),
        **{name: (found >= least).double().mean().item() for name, least in SHARES.items()},
        "joint": (right & (found >= JOINT)).double().mean().item(),
    }
