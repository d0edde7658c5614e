"""The store: a dataset decoded once, one memory-mapped array a split and one table."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import cached_property
from io import FileIO
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd

from frugalvit.checksums import check_noted
from frugalvit.data.items import SPLITS
from frugalvit.errors import DataError
from frugalvit.files import read_csv

COLUMNS = ["id", "file", "split", "label", "class_name", "box", "sha256", "group"]


def read_index(path: str | Path) -> pd.DataFrame:
    """Read `index.csv` or `assignments.csv`; text stays text (a class may be called 007 or NA).

    Raises:
        DataError: its bytes are not those that were written, or it is no such table.
    """
    check_noted(path)
    columns = ("id", "split", "label", "class_name")
    table = read_csv(path, columns, dtype=str, keep_default_na=False)
    try:
        table = table.astype({"label": int})
    except ValueError as error:
        raise DataError(
            f"{path}: a label is no number ({error}); delete it and run again"
        ) from None
    twice = table.loc[table["id"].duplicated(), "id"]
    if len(twice):
        raise DataError(f"{path}: the id {twice.iloc[0]} stands twice; delete it and run again")
    return table


class Store:
    """A prepared dataset, opened without reading its images.

    Pickles small: another process opens the files anew.

    Raises:
        DataError: the folder holds no complete store.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        missing = [
            name
            for name in ("index.csv", *(f"{split}.npy" for split in SPLITS))
            if not (self.folder / name).is_file()
        ]
        if missing:
            raise DataError(f"{self.folder}: no store, {missing[0]} is missing; prepare it first")
        self._checked: set[str] = set()  # splits whose array is as it was written

    def __getstate__(self) -> dict:
        return {"folder": self.folder, "_checked": self._checked}

    @cached_property
    def index(self) -> pd.DataFrame:
        """The table of all images, with `row`: the position in the split's array."""
        path = self.folder / "index.csv"
        index = read_index(path)
        unknown = index.loc[~index["split"].isin(SPLITS), "split"]
        if len(unknown):
            raise DataError(
                f"{path}: '{unknown.iloc[0]}' is no split ({', '.join(SPLITS)}); delete it and run again"
            )
        index["row"] = index.groupby("split", sort=False).cumcount()
        return index

    @cached_property
    def image_size(self) -> int:
        """Side of the stored squares, px."""
        return int(self._arrays["train"].shape[1])

    @cached_property
    def class_names(self) -> list[str]:
        """Readable names, by label."""
        named = self.index.drop_duplicates("label").sort_values("label")
        return named["class_name"].tolist()

    def ids(self, split: str) -> list[str]:
        """Ids of the images of one source split, in the order of its array."""
        return self.index.loc[self.index["split"] == split, "id"].tolist()

    def groups(self, ids: list[str]) -> list[str]:
        """The group of each image, empty where it has none: images of one group have one origin."""
        return self.index.set_index("id").loc[ids, "group"].tolist()

    def images(self, split: str) -> np.ndarray:
        """The images of one source split: uint8 `[n, side, side, 3]`, RGB, read-only.

        Mapped: for a few images, or all in order; `read` for many at random places.

        Raises:
            DataError: the array is not as it was written.
        """
        self.check([split])
        return self._arrays[split]

    def check(self, splits: Iterable[str]) -> None:
        """Compare the arrays of some source splits with their checksums, each once.

        Raises:
            DataError: one is not as it was written.
        """
        for split in sorted(set(splits) - self._checked):
            path = self.folder / f"{split}.npy"
            check_noted(path)
            rows, known = len(self._arrays[split]), len(self.ids(split))
            if rows != known:
                raise DataError(
                    f"{path}: {rows} images, but {known} in index.csv; delete it and run again"
                )
            self._checked.add(split)

    def read(self, splits: Sequence[str], rows: Sequence[int]) -> np.ndarray:
        """Copies of images, one for each source split and row: uint8 `[n, side, side, 3]`.

        By plain reads: at random rows a map has the system read megabytes around every image that
        memory does not hold, and counts all it touched as the process's own.

        Raises:
            DataError: an array is shorter than its header says.
        """
        side = self.image_size
        mapped = {split: cast(np.memmap, self.images(split)) for split in set(splits)}
        pixels = np.empty((len(rows), side, side, 3), dtype=np.uint8)
        with ExitStack() as stack:
            # Opened anew each time: processes that share a file would share its position.
            files = {
                split: stack.enter_context((self.folder / f"{split}.npy").open("rb", buffering=0))
                for split in mapped
            }
            for image, split, row in zip(pixels, splits, rows, strict=True):
                files[split].seek(mapped[split].offset + int(row) * image.nbytes)
                _fill(image, files[split])
        return pixels

    @cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        return {split: self._map(split) for split in SPLITS}

    def _map(self, split: str) -> np.ndarray:
        path = self.folder / f"{split}.npy"
        images = map_array(path, "a store's array", "delete the store and run again")
        if images.dtype != np.uint8 or images.ndim != 4:
            raise DataError(f"{path}: not a store's array; delete the store and run again")
        return images


def _fill(image: np.ndarray, file: FileIO) -> None:
    left = image.data.cast("B")
    while left:
        count = file.readinto(left)
        if not count:
            raise DataError(f"{file.name}: cut short; delete the store and run again")
        left = left[count:]


def map_array(path: Path, what: str, remedy: str) -> np.ndarray:
    """A `.npy` file that a job wrote, mapped read-only; an empty one, which cannot be, as it is.

    Raises:
        DataError: it is missing, cut short, or its header is broken.
    """
    try:
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            shape, _, _ = np.lib.format.read_array_header_1_0(file)
        return np.load(path, mmap_mode="r" if shape[0] else None)
    except Exception as error:  # a broken header can raise anything
        raise DataError(f"{path}: not {what}, or a broken one ({error}); {remedy}") from None
