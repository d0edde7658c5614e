"""The store: a dataset decoded once, one memory-mapped array a split and one table."""

import logging
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from frugalvit.card import write_csv, write_json
from frugalvit.data.items import SPLITS, Item
from frugalvit.data.packing import Outcome, Square, create_array, decode_into, keep_rows
from frugalvit.data.sources import list_items
from frugalvit.errors import DataError

log = logging.getLogger(__name__)

COLUMNS = ["id", "file", "split", "label", "class_name", "box", "sha256", "group"]
_NAMED_ERRORS = 10


def prepare(dataset: dict, raw: str | Path, folder: str | Path, workers: int = 1) -> dict:
    """Decode a downloaded dataset into `folder`: three arrays, `index.csv`, `report.json`.

    The arrays are uint8 `[n, crop, crop, 3]`, RGB; n may be 0. Nothing gets its name before all
    of it is written.

    Args:
        dataset: the `dataset` section of a study.
        raw: where `download` put the files.
        folder: the store's folder.
        workers: processes that decode.

    Returns:
        The report.

    Raises:
        DataError: images that cannot be decoded, all of them at once, unless
            `dataset.skip_bad_images` leaves them out.
    """
    listing = list_items(dataset, raw)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    square = Square(dataset["resize"], dataset["crop"], dataset["max_pixels"])
    arrays = {split: folder / f".{split}.npy.part" for split in SPLITS}
    try:
        for split, path in arrays.items():
            create_array(path, sum(item.split == split for item in listing.items), square.crop)
        outcomes = decode_into(arrays, listing.items, square, workers, f"decode {dataset['name']}")
        pairs = list(zip(listing.items, outcomes, strict=True))
        failures = [{"file": item.file, "error": out.error} for item, out in pairs if out.error]
        _judge(failures, len(pairs), dataset["skip_bad_images"])
        for split, path in arrays.items():
            good = np.array([not out.error for item, out in pairs if item.split == split], bool)
            if not good.all():
                keep_rows(path, good)
            path.replace(folder / f"{split}.npy")
    finally:
        for path in arrays.values():
            path.unlink(missing_ok=True)
    rows = [row for split in SPLITS for row in _index_rows(split, pairs)]
    index = pd.DataFrame(rows, columns=COLUMNS)
    write_csv(folder / "index.csv", index)
    report = {
        "images": {split: int((index.split == split).sum()) for split in SPLITS},
        "image_size": square.crop,
        "class_names": list(listing.class_names.values()),
        "skipped": failures,
        "ignored_files": listing.ignored_files,
        "empty_classes": listing.empty_classes,
        "unnamed_classes": listing.unnamed_classes,
    }
    write_json(folder / "report.json", report)
    return report


def _judge(failures: list[dict], images: int, skip: bool) -> None:
    if not failures:
        return
    named = "; ".join(f"{bad['file']}: {bad['error']}" for bad in failures[:_NAMED_ERRORS])
    more = len(failures) - _NAMED_ERRORS
    named += f"; and {more} more" if more > 0 else ""
    count = f"{len(failures)} of {images} images cannot be decoded"
    if not skip:
        raise DataError(f"{count} ({named}); mend them or set dataset.skip_bad_images: true")
    if len(failures) == images:
        raise DataError(f"{count} ({named}); none is left")
    log.warning("%s and are left out: %s", count, named)


def _index_rows(split: str, pairs: list[tuple[Item, Outcome]]) -> list[dict]:
    decoded = [pair for pair in pairs if pair[0].split == split and not pair[1].error]
    return [
        {
            "id": f"{split}-{row:06d}",
            "file": item.file,
            "split": split,
            "label": item.label,
            "class_name": item.class_name,
            "box": " ".join(f"{edge:.6g}" for edge in outcome.box) if outcome.box else "",
            "sha256": outcome.sha256,
            "group": item.group,
        }
        for row, (item, outcome) in enumerate(decoded)
    ]


def read_index(path: str | Path) -> pd.DataFrame:
    """Read `index.csv` or `assignments.csv`; text stays text (a class may be called 007 or NA)."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    return table.astype({"label": int})


class Store:
    """A prepared dataset, opened without reading its images.

    Pickles small: another process maps the files anew.

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

    def __getstate__(self) -> dict:
        return {"folder": self.folder}

    @cached_property
    def index(self) -> pd.DataFrame:
        """The table of all images, with `row`: the position in the split's array."""
        index = read_index(self.folder / "index.csv")
        index["row"] = index.groupby("split", sort=False).cumcount()
        return index

    @cached_property
    def image_size(self) -> int:
        """Side of the stored squares, px."""
        return int(self.images("train").shape[1])

    @cached_property
    def class_names(self) -> list[str]:
        """Readable names, by label."""
        named = self.index.drop_duplicates("label").sort_values("label")
        return named["class_name"].tolist()

    def ids(self, split: str) -> list[str]:
        """Ids of the images of one source split, in the order of its array."""
        return self.index.loc[self.index["split"] == split, "id"].tolist()

    def images(self, split: str) -> np.ndarray:
        """The images of one source split: uint8 `[n, side, side, 3]`, RGB, read-only."""
        return self._arrays[split]

    @cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        return {split: _map(self.folder / f"{split}.npy") for split in SPLITS}


def _map(path: Path) -> np.ndarray:
    try:
        # An empty array cannot be mapped, and an empty one costs nothing to read.
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            shape, _, _ = np.lib.format.read_array_header_1_0(file)
        return np.load(path, mmap_mode="r" if shape[0] else None)
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: not a store's array; delete the store and run again") from error
