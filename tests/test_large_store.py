"""What a store of a million images rests on: plain reads, and no second copy of the features."""

import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from frugalvit.data.arrays import create_array
from frugalvit.data.batches import ImageSet
from frugalvit.data.feature_files import read_features
from frugalvit.data.store import COLUMNS, Store
from frugalvit.errors import DataError

SIDE = 8
PREPROCESSING = {"image_size": SIDE, "mean": [0.5] * 3, "std": [0.5] * 3}


def write_store(folder: Path, counts: dict[str, int]) -> Store:
    folder.mkdir()
    rows = []
    for number, (split, count) in enumerate(counts.items()):
        create_array(folder / f"{split}.npy", count, SIDE)
        if count:
            array = np.load(folder / f"{split}.npy", mmap_mode="r+")
            array[:] = np.random.default_rng(number).integers(0, 256, array.shape, dtype=np.uint8)
        rows += [
            {"id": f"{split}-{row:06d}", "split": split, "label": row % 2} for row in range(count)
        ]
    table = pd.DataFrame(rows).reindex(columns=COLUMNS, fill_value="")
    table.to_csv(folder / "index.csv", index=False)
    return Store(folder)


def test_rows_of_several_splits_are_read_in_the_order_asked_for(tmp_path):
    store = write_store(tmp_path / "store", {"train": 9, "valid": 4, "test": 0})
    splits, rows = ["valid", "train", "train", "valid", "train"], [3, 8, 0, 0, 8]
    read = store.read(splits, np.array(rows))
    expected = [store.images(split)[row] for split, row in zip(splits, rows)]
    assert np.array_equal(read, expected)
    assert store.read([], []).shape == (0, SIDE, SIDE, 3)


def test_an_array_that_was_cut_short_is_told(tmp_path):
    store = write_store(tmp_path / "store", {"train": 9, "valid": 4, "test": 0})
    assert store.images("train").shape[0] == 9
    path = store.folder / "train.npy"
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    assert store.read(["train"], [7]).shape[0] == 1
    with pytest.raises(DataError, match=r"train\.npy: cut short; delete the store and run again"):
        store.read(["train"], [8])


def test_features_are_not_in_memory_twice_while_they_are_read(tmp_path):
    store = write_store(tmp_path / "store", {"train": 6000, "valid": 0, "test": 0})
    images = ImageSet(store, store.ids("train")[::-1], PREPROCESSING)
    features = np.random.default_rng(0).random((6000, 2, 3, 2, 8), dtype=np.float32)
    np.save(tmp_path / "train.npy", features)
    tracemalloc.start()
    read = read_features(tmp_path, images, [1, 3])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.array_equal(read.numpy(), features[::-1][:, :, [0, 2]])
    assert peak < 1.5 * read.nbytes
