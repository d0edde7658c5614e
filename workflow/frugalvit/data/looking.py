"""A folder of images looked at before there is a store: what can be decoded, sizes, checksums."""

import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from frugalvit.data.arrays import CHUNK, Outcome, Square, decoders, opened
from frugalvit.data.items import SPLITS
from frugalvit.data.prepare import index_rows
from frugalvit.data.sources.listing import listed
from frugalvit.errors import DataError
from frugalvit.jobs.progress import Progress


class Look(NamedTuple):
    """What one file is."""

    sha256: str = ""
    width: int = 0  # px, upright
    height: int = 0
    low: float = 1.0  # ends of its tones, as `data.decode.Decoded` has them
    high: float = 0.0
    error: str = ""


class Found(NamedTuple):
    """What a folder holds."""

    index: pd.DataFrame  # of images that can be decoded, as `data.prepare` would write it
    looks: list[Look]  # of these images
    bad: list[dict[str, str]]  # `file` and `error` of the others
    notes: list[str]  # of the listing: what lies beside the classes

    @property
    def used_range(self) -> list[float]:
        """Darkest and brightest tone of all."""
        return [min(look.low for look in self.looks), max(look.high for look in self.looks)]


def look_at(dataset: dict[str, Any], workers: int = 1) -> Found:
    """Decode every image of a user's folder once, and keep none.

    Args:
        dataset: the `dataset` section of a study, of a source that is `local`.
        workers: processes that decode.

    Raises:
        ConfigError, DataError: there is no such folder, or no image in it can be decoded.
    """
    listing = listed(dataset, Path())
    square = Square(dataset["resize"], dataset["crop"], dataset["max_pixels"], dataset["stretch"])
    files = [item.image for item in listing.items if isinstance(item.image, Path)]
    looks = []
    with Progress("look at images", len(files), "images") as shown:
        for look in _looks(files, square, workers):
            looks.append(look)
            shown.advance(1)
    pairs = list(zip(listing.items, looks, strict=True))
    good = [(item, look) for item, look in pairs if not look.error]
    bad = [{"file": item.file, "error": look.error} for item, look in pairs if look.error]
    if not good:
        raise DataError(f"{dataset['path']}: none of {len(pairs)} images can be read; mend them")
    outcomes = [(item, Outcome(look.sha256)) for item, look in good]
    rows = [row for split in SPLITS for row in index_rows(split, outcomes)]
    return Found(pd.DataFrame(rows), [look for _, look in good], bad, listing.notes)


def _looks(files: list[Path], square: Square, workers: int) -> Iterator[Look]:
    look = partial(_look, square=square)
    if workers < 2 or len(files) <= CHUNK:
        yield from map(look, files)
        return
    with decoders(workers) as pool:
        yield from pool.map(look, files, chunksize=CHUNK)


def _look(file: Path, square: Square) -> Look:
    try:
        with opened(file) as image:
            sha256 = hashlib.file_digest(image, "sha256").hexdigest()
            image.seek(0)
            decoded = square.decode(image)
    except DataError as error:
        return Look(error=str(error))
    return Look(sha256, decoded.width, decoded.height, decoded.low, decoded.high)
