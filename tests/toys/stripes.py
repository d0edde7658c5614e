"""Striped images: a toy, drawn with numpy."""

from pathlib import Path
from typing import Any

from frugalvit.data.items import SPLITS, Item, Listing
from frugalvit.data.sources.source import Dataset, Listed, Source
from frugalvit.errors import ConfigError

CLASSES = ("across", "down", "slanted")
COUNTS = dict(zip(SPLITS, (24, 12, 12), strict=True))  # of a class
SIDE = 24
WIDTH = 3  # of a stripe


def fetch(dataset: Dataset, raw: Path, mirror: Path | None) -> dict[str, Any]:
    """Nothing: they are drawn."""
    return {"files": []}


def list_stripes(dataset: Dataset, raw: Path) -> Listed:
    """Draw every split's images; no two are alike."""
    import numpy as np  # here, because the configuration imports this file too

    random = np.random.default_rng(0)
    rows, columns = np.indices((SIDE, SIDE))
    across = dict(zip(CLASSES, (rows, columns, rows + columns), strict=True))
    items = [
        Item(
            file=f"{split}/{key}-{number:02d}",
            split=split,
            class_key=key,
            image=random.integers(0, 60, (SIDE, SIDE), np.uint8)
            + 180 * ((across[key] + number) // WIDTH % 2).astype(np.uint8),
        )
        for split in SPLITS
        for key in CLASSES
        for number in range(COUNTS[split])
    ]
    return Listed(Listing(items, {key: key for key in CLASSES}), [])


def check(dataset: Dataset, key: str, mirror: str | None) -> None:
    """They are drawn at their final size, of nothing."""
    if dataset["path"]:
        raise ConfigError(f"{key}.path: stripes are drawn here; leave it out")
    dataset["resize"] = dataset["crop"] = SIDE


SOURCE = Source(fetch=fetch, list=list_stripes, check=check)
