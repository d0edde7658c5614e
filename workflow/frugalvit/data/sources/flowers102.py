"""Oxford Flowers-102."""

from pathlib import Path
from typing import TYPE_CHECKING

from frugalvit.data.items import Item, Listing
from frugalvit.data.sources.published import Archive, Published

if TYPE_CHECKING:
    from frugalvit.data.sources.published import Opened


def archives() -> list[Archive]:
    """The publisher's files."""
    from torchvision.datasets import Flowers102

    prefix = Flowers102._download_url_prefix
    return [
        Archive(name, (prefix + name,), md5, "flowers-102")
        for name, md5 in Flowers102._file_dict.values()
    ]


def open_splits(raw: Path, download: bool) -> "Opened":
    """The training, validation and test split."""
    from torchvision.datasets import Flowers102

    names = {"train": "train", "valid": "val", "test": "test"}
    return [(split, Flowers102(str(raw), name, download=download)) for split, name in names.items()]


def listing(opened: "Opened") -> Listing:
    """Classes are numbered from 001, in torchvision's order."""
    items = [
        Item(f"jpg/{Path(path).name}", split, f"{label + 1:03d}", Path(path))
        for split, dataset in opened
        for path, label in zip(dataset._image_files, dataset._labels, strict=True)
    ]
    names = opened[0][1].classes
    return Listing(items, {f"{label + 1:03d}": name for label, name in enumerate(names)})


SOURCE = Published("flowers102", archives, "flowers-102/jpg", open_splits, listing).source
