"""Reading cached features, which `training.features` writes and describes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from frugalvit.data.batches import ImageSet


def read_features(folder: Path, images: ImageSet, blocks: Sequence[int]) -> Tensor:
    """Features after `blocks` (numbers from 1) from the cache: `[images, views, blocks, 2, dim]`."""
    files = {split: np.load(folder / f"{split}.npy", mmap_mode="r") for split in set(images.splits)}
    views, _, pooled, dim = next(iter(files.values())).shape[1:]
    read = np.empty((len(images), views, len(blocks), pooled, dim), dtype=np.float32)
    places = [block - 1 for block in blocks]
    for split, features in files.items():
        mine = np.flatnonzero(images.splits == split)
        read[mine] = features[np.ix_(images.rows[mine], range(views), places)]
    return torch.from_numpy(read)
