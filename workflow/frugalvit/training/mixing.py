"""Images blended with each other on the device, and their labels with them.

Mixup: Zhang et al. 2018, equation 1. CutMix: Yun et al. 2019, section 3.1. Both draw for each image,
where the papers (and torchvision) draw once a batch.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from frugalvit.data.batches import mix_seed
from frugalvit.training.objective import one_hot
from frugalvit.words import MIXES


class Mixing:
    """Blends each image of a batch with the one before it; batches are shuffled.

    Args:
        augment: of a phase: `mixup` and `cutmix`, alphas; where both are on, each image draws which.
        classes: of the labels.
        seeds: that decide all draws of one pass.
    """

    def __init__(self, augment: Mapping[str, Any], classes: int, *seeds: int):
        self.alphas = {name: augment[name] for name in MIXES if augment.get(name)}
        self.classes = classes
        self._random = np.random.default_rng(mix_seed(*seeds))

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Blended images, and the share of each class, `[batch, classes]`; as they are where off.

        Args:
            images: `[batch, 3, height, width]`.
            labels: `[batch]`.
        """
        if not self.alphas:
            return images, labels
        own, shares = self._shares(len(images), *images.shape[2:])
        kept = torch.from_numpy(own).to(images.device, images.dtype, non_blocking=True)
        mixed = torch.lerp(images.roll(1, 0), images, kept)
        targets = one_hot(labels, self.classes)
        weights = torch.from_numpy(shares)[:, None].to(targets.device, targets.dtype)
        return mixed, torch.lerp(targets.roll(1, 0), targets, weights)

    def _shares(self, count: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """How much of each image stays: by place `[count, 1, height, width]`, and in all `[count]`."""
        chosen = self._random.integers(len(self.alphas), size=count)
        names = np.array(list(self.alphas))[chosen]
        alphas = np.array(list(self.alphas.values()))[chosen]
        shares = self._random.beta(alphas, alphas)
        middles = self._random.random((count, 2))
        places = np.broadcast_to(shares[:, None, None, None], (count, 1, height, width)).copy()
        cut = names == "cutmix"
        inside = _boxes(shares[cut], middles[cut], height, width)
        places[cut] = 1.0 - inside
        shares[cut] = places[cut].mean(axis=(1, 2, 3))
        return places, shares


def _boxes(shares: np.ndarray, middles: np.ndarray, height: int, width: int) -> np.ndarray:
    """Rectangles of `1 - shares` of the area, cut at the edges: bool `[images, 1, height, width]`."""
    halves = 0.5 * np.sqrt(1.0 - shares)
    found = np.ones((len(shares), 1, height, width), dtype=bool)
    for axis, side in ((2, height), (3, width)):
        half = (halves * side).astype(int)
        middle = np.floor(middles[:, axis - 2] * side).astype(int)
        shape = [1, 1, 1, 1]
        shape[axis] = side
        at = np.arange(side).reshape(shape)
        low, high = (edge[:, None, None, None] for edge in (middle - half, middle + half))
        found &= (at >= low) & (at < high)
    return found
