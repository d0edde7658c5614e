"""Classes of unlike size: by weights of the loss, or by how often an image is drawn."""

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from frugalvit.training.phases import RunData

LOSS, SAMPLER = "loss", "sampler"  # values of `balance`, besides none


def class_weights(labels: Tensor, classes: int) -> list[float]:
    """A weight a class, by which all classes count alike and the mean over images is 1.

    Class c of n_c among n images in k classes has n / (k n_c), as scikit-learn's `balanced`; one
    without images has 0.

    Args:
        labels: of the images that train, `[n]`.
        classes: how many there are.
    """
    counts = labels.bincount(minlength=classes).double()
    present = int((counts > 0).sum())
    weights = torch.where(counts > 0, len(labels) / (present * counts.clamp(min=1)), 0.0)
    return [round(weight, 6) for weight in weights.tolist()]


def drawn_weights(labels: Tensor) -> Tensor:
    """How likely each image is drawn, float64 `[n]`, so that classes come equally often.

    Args:
        labels: `[n]`, or targets with boxes, `[n, 5]` or `[n, views, 5]`.
    """
    labels = labels.reshape(len(labels), -1)[:, 0].long().cpu()
    return 1 / labels.bincount().double()[labels]


def cross_entropy(
    logits: Tensor, labels: Tensor, smoothing: float = 0.0, weights: list[float] | None = None
) -> Tensor:
    """Cross-entropy, mean over the images of a batch, each weighed by its class's weight.

    Not divided by the batch's weights, so that the gradients of parts of a batch add up to the whole's.

    Args:
        logits: `[batch, classes]`.
        labels: `[batch]`, or the share of each class, `[batch, classes]`.
        smoothing: of the labels.
        weights: one a class; None for 1 each.
    """
    if weights is None:
        return F.cross_entropy(logits, labels, label_smoothing=smoothing)
    each = F.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")
    return weighted_mean(each, labels, weights)


def weighted_mean(each: Tensor, labels: Tensor, weights: list[float] | None) -> Tensor:
    """Mean over images of values `[batch]`, each weighed by its class's weight."""
    if weights is None:
        return each.mean()
    of_class = torch.tensor(weights, device=each.device, dtype=each.dtype)
    share = of_class[labels] if labels.ndim == 1 else labels.to(each.dtype) @ of_class
    return (each * share).mean()


def with_class_weights(settings: dict[str, Any], data: "RunData") -> dict[str, Any]:
    """A run's settings with `class_weights` in every phase that balances its loss.

    Args:
        settings: the run's.
        data: whose training images are counted.
    """
    if not any(phase["balance"] == LOSS for phase in settings["schedule"]):
        return settings
    index = data.store.index.set_index("id")
    labels = torch.tensor(index.loc[data.train_ids, "label"].tolist())
    weights = class_weights(labels, len(data.store.class_names))
    schedule = [
        phase | {"class_weights": weights} if phase["balance"] == LOSS else phase
        for phase in settings["schedule"]
    ]
    return settings | {"schedule": schedule}
