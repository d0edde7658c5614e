"""Published datasets through torchvision: its addresses, checksums, unpacking and labels.

Our own download puts the publisher's archive where torchvision expects it (mirror first, resumed
when broken); torchvision's `download()` then checks it again and unpacks it.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from frugalvit.data.download import fetch_file, file_digest, find_in_mirror
from frugalvit.data.sources.debian_fashion_mnist import CONTENT_SHA256, copy_from_package
from frugalvit.data.items import Item, Listing
from frugalvit.errors import DataError

if TYPE_CHECKING:
    from torchvision.datasets import VisionDataset

# torchvision keeps these two inside a function body; a test compares them with its source.
CALTECH256_URL = "https://data.caltech.edu/records/nyy15-4j048/files/256_ObjectCategories.tar"
CALTECH256_MD5 = "67b4f42ca05d46448c6bb8ecd2220f6d"


@dataclass(frozen=True)
class _Archive:
    """One file of the publisher, and where torchvision looks for it below its root."""

    name: str
    urls: tuple[str, ...]
    md5: str
    folder: str


@dataclass(frozen=True)
class _Source:
    archives: Callable[[], list[_Archive]]
    unpacked: str  # pattern of what torchvision takes for the dataset as soon as it exists
    open: Callable[[Path, bool], "list[tuple[str, VisionDataset]]"]
    list: Callable[[Path, "list[tuple[str, VisionDataset]]"], Listing]


def download_published(source: str, raw: Path, mirror: Path | None) -> list[dict]:
    """Fetch and unpack one of `SOURCES` below `raw`; returns name and checksum of each file.

    Raises:
        DataError: a file is neither in the mirror nor to be downloaded, or is not the
            publisher's.
    """
    entry = SOURCES[source]
    raw.mkdir(parents=True, exist_ok=True)
    # An earlier job may have been killed while unpacking, which torchvision would not notice.
    for stale in raw.glob(entry.unpacked):
        shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
    archives = entry.archives()
    packaged = (
        source == "fashion_mnist"
        and not any(find_in_mirror(archive.name, mirror) for archive in archives)
        and copy_from_package(raw / "FashionMNIST" / "raw")
    )
    if packaged:
        fetched = [{"file": name, "sha256": sha256} for name, sha256 in CONTENT_SHA256.items()]
    else:
        fetched = [_fetch(archive, raw, mirror) for archive in archives]
    _open(source, raw, download=not packaged)
    return fetched


def list_published(source: str, raw: Path) -> Listing:
    """List a downloaded dataset with torchvision's labels, its `val` named valid."""
    return SOURCES[source].list(raw, _open(source, raw, download=False))


def _open(source: str, raw: Path, download: bool) -> "list[tuple[str, VisionDataset]]":
    try:
        return SOURCES[source].open(raw, download)
    except (RuntimeError, OSError, ValueError, EOFError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{raw}: torchvision cannot read {source} ({reason}); delete the folder and run again"
        ) from error


def _fetch(archive: _Archive, raw: Path, mirror: Path | None) -> dict:
    for position, url in enumerate(archive.urls):
        try:
            path = fetch_file(
                archive.name, url, raw / archive.folder, md5=archive.md5, mirror=mirror
            )
            break
        except DataError:
            if position == len(archive.urls) - 1:
                raise
    return {"file": archive.name, "md5": archive.md5, "sha256": file_digest(path)}


def _flowers_archives() -> list[_Archive]:
    from torchvision.datasets import Flowers102

    prefix = Flowers102._download_url_prefix
    return [
        _Archive(name, (prefix + name,), md5, "flowers-102")
        for name, md5 in Flowers102._file_dict.values()
    ]


def _flowers_open(raw: Path, download: bool) -> "list[tuple[str, VisionDataset]]":
    from torchvision.datasets import Flowers102

    names = {"train": "train", "valid": "val", "test": "test"}
    return [(split, Flowers102(str(raw), name, download=download)) for split, name in names.items()]


def _flowers_list(raw: Path, opened: "list[tuple[str, VisionDataset]]") -> Listing:
    items = [
        Item(f"jpg/{Path(path).name}", split, f"{label + 1:03d}", Path(path))
        for split, dataset in opened
        for path, label in zip(dataset._image_files, dataset._labels, strict=True)
    ]
    names = opened[0][1].classes
    return Listing(items, {f"{label + 1:03d}": name for label, name in enumerate(names)})


def _cifar_archives() -> list[_Archive]:
    from torchvision.datasets import CIFAR10

    return [_Archive(CIFAR10.filename, (CIFAR10.url,), CIFAR10.tgz_md5, "")]


def _cifar_open(raw: Path, download: bool) -> "list[tuple[str, VisionDataset]]":
    from torchvision.datasets import CIFAR10

    return [
        ("train", CIFAR10(str(raw), train=True, download=download)),
        ("test", CIFAR10(str(raw), train=False, download=download)),
    ]


def _fashion_archives() -> list[_Archive]:
    from torchvision.datasets import FashionMNIST

    return [
        _Archive(name, tuple(base + name for base in FashionMNIST.mirrors), md5, "FashionMNIST/raw")
        for name, md5 in FashionMNIST.resources
    ]


def _fashion_open(raw: Path, download: bool) -> "list[tuple[str, VisionDataset]]":
    from torchvision.datasets import FashionMNIST

    return [
        ("train", FashionMNIST(str(raw), train=True, download=download)),
        ("test", FashionMNIST(str(raw), train=False, download=download)),
    ]


def _arrays_list(raw: Path, opened: "list[tuple[str, VisionDataset]]") -> Listing:
    names = opened[0][1].classes
    return Listing(list(_array_items(opened)), {name: name for name in names})


def _array_items(opened: "list[tuple[str, VisionDataset]]") -> Iterator[Item]:
    for split, dataset in opened:
        images, names = np.asarray(dataset.data), dataset.classes
        for position, label in enumerate(np.asarray(dataset.targets)):
            yield Item(f"{split}/{position:05d}", split, names[label], images[position])


def _caltech_archives() -> list[_Archive]:
    name = CALTECH256_URL.rsplit("/", 1)[1]
    return [_Archive(name, (CALTECH256_URL,), CALTECH256_MD5, "caltech256")]


def _caltech_open(raw: Path, download: bool) -> "list[tuple[str, VisionDataset]]":
    from torchvision.datasets import Caltech256

    return [("train", Caltech256(str(raw), download=download))]


def _caltech_list(raw: Path, opened: "list[tuple[str, VisionDataset]]") -> Listing:
    """One set to split, by the files that exist (torchvision numbers them and assumes no gap)."""
    root = Path(opened[0][1].root) / "256_ObjectCategories"
    names = {key: key.split(".", 1)[-1] for key in opened[0][1].categories}
    items = [
        Item(f"{key}/{path.name}", "train", key, path)
        for key in names
        for path in sorted((root / key).glob("*.jpg"))
    ]
    return Listing(items, names)


SOURCES = {
    "flowers102": _Source(_flowers_archives, "flowers-102/jpg", _flowers_open, _flowers_list),
    "cifar10": _Source(_cifar_archives, "cifar-10-batches-py", _cifar_open, _arrays_list),
    "fashion_mnist": _Source(
        _fashion_archives, "FashionMNIST/raw/*-ubyte", _fashion_open, _arrays_list
    ),
    "caltech256": _Source(
        _caltech_archives, "caltech256/256_ObjectCategories", _caltech_open, _caltech_list
    ),
}
