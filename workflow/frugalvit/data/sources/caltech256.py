"""Caltech-256."""

from pathlib import Path
from typing import TYPE_CHECKING

from frugalvit.data.items import Item, Listing
from frugalvit.data.sources.published import Archive, Published

if TYPE_CHECKING:
    from frugalvit.data.sources.published import Opened

# torchvision keeps these two inside a function body; a test compares them with its source.
CALTECH256_URL = "https://data.caltech.edu/records/nyy15-4j048/files/256_ObjectCategories.tar"
CALTECH256_MD5 = "67b4f42ca05d46448c6bb8ecd2220f6d"


def archives() -> list[Archive]:
    """The publisher's file."""
    name = CALTECH256_URL.rsplit("/", 1)[1]
    return [Archive(name, (CALTECH256_URL,), CALTECH256_MD5, "caltech256")]


def open_splits(raw: Path, download: bool) -> "Opened":
    """One set to split."""
    from torchvision.datasets import Caltech256

    return [("train", Caltech256(str(raw), download=download))]


def listing(opened: "Opened") -> Listing:
    """By the files that exist (torchvision numbers them and assumes no gap)."""
    root = Path(opened[0][1].root) / "256_ObjectCategories"
    names = {key: key.split(".", 1)[-1] for key in opened[0][1].categories}
    items = [
        Item(f"{key}/{path.name}", "train", key, path)
        for key in names
        for path in sorted((root / key).glob("*.jpg"))
    ]
    return Listing(items, names)


SOURCE = Published(
    "caltech256", archives, "caltech256/256_ObjectCategories", open_splits, listing
).source
