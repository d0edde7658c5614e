"""Reading cached features, which `training.features` writes and describes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from frugalvit.data.batches import ImageSet

_CHUNK = 1024  # images copied at once: what is read must not be in memory twice


def read_features(folder: Path, images: ImageSet, blocks: Sequence[int]) -> Tensor:
    """Features after `blocks` (numbers from 1) from the cache: `[images, views, blocks, 2, dim]`."""
    files = {split: np.load(folder / f"{split}.npy", mmap_mode="r") for split in set(images.splits)}
    views, _, pooled, dim = next(iter(files.values())).shape[1:]
    read = np.empty((len(images), views, len(blocks), pooled, dim), dtype=np.float32)
    places = [block - 1 for block in blocks]
    for split, features in files.items():
        mine = np.flatnonzero(images.splits == split)
        for start in range(0, len(mine), _CHUNK):
            chunk = mine[start : start + _CHUNK]
            read[chunk] = features[np.ix_(images.rows[chunk], range(views), places)]
    return torch.from_numpy(read)
