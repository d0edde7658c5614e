"""Reading cached features, which `training.features` writes and describes; whose they are."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from frugalvit.checksums import check_noted
from frugalvit.data.assignments import read_assignments
from frugalvit.data.batches import ImageSet
from frugalvit.data.store import Store, map_array
from frugalvit.errors import DataError

_CHUNK = 1024  # images copied at once: what is read must not be in memory twice


def read_features(folder: Path, images: ImageSet, blocks: Sequence[int]) -> Tensor:
    """Features after `blocks` (numbers from 1) from the cache: `[images, views, blocks, 2, dim]`.

    Raises:
        DataError: of some of the images none were computed, or a file is not as it was written.
    """
    files = {split: _open(folder / f"{split}.npy") for split in set(images.splits)}
    views, _, pooled, dim = next(iter(files.values())).shape[1:]
    read = np.empty((len(images), views, len(blocks), pooled, dim), dtype=np.float32)
    places = [block - 1 for block in blocks]
    for split, features in files.items():
        mine = np.flatnonzero(images.splits == split)
        if images.rows[mine].max() >= len(features) or max(blocks) > features.shape[2]:
            raise DataError(
                f"{folder / f'{split}.npy'}: of fewer images or blocks than asked for; delete the "
                "folder and run again"
            )
        for start in range(0, len(mine), _CHUNK):
            chunk = mine[start : start + _CHUNK]
            read[chunk] = features[np.ix_(images.rows[chunk], range(views), places)]
            if not read[chunk].any(axis=(1, 2, 3, 4)).all():
                raise DataError(
                    f"{folder / f'{split}.npy'}: no features of some images that are to train; delete "
                    "the folder and run again"
                )
            if not np.isfinite(read[chunk]).all():
                raise DataError(
                    f"{folder / f'{split}.npy'}: holds values that are not finite; delete it and run "
                    "again"
                )
    return torch.from_numpy(read)


def _open(path: Path) -> np.ndarray:
    """A feature file, mapped."""
    check_noted(path)
    features = map_array(path, "an array of features", "delete it and run again")
    if features.ndim != 5 or features.dtype != np.float32:
        raise DataError(f"{path}: not an array of features; delete it and run again")
    return features


def rows_that_train(store: Store, split: str, assignments: Sequence[str | Path]) -> np.ndarray:
    """Rows of a source split (int `[n]`, ascending) whose images train by any of these tables.

    A study divides the source's training images further, and may divide them in several ways.
    """
    train: set[str] = set()
    for path in assignments:
        table = read_assignments(path, store)
        train.update(table.loc[table["split"] == "train", "id"])
    return np.flatnonzero([image in train for image in store.ids(split)])
