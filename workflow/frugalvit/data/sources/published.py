"""What published datasets share: torchvision's addresses, checksums, unpacking and labels.

Our own download puts the publisher's archive where torchvision expects it (mirror first, resumed
when broken); torchvision's `download()` then checks it again and unpacks it.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frugalvit.data.download import fetch_file, file_digest
from frugalvit.data.items import Item, Listing
from frugalvit.data.sources.source import Dataset, Listed, Source
from frugalvit.errors import DataError

if TYPE_CHECKING:
    from torchvision.datasets import VisionDataset

    Opened = list[tuple[str, VisionDataset]]


@dataclass(frozen=True)
class Archive:
    """One file of the publisher, and where torchvision looks for it below its root."""

    name: str
    urls: tuple[str, ...]
    md5: str
    folder: str


def _not_packaged(raw: Path, mirror: Path | None) -> list[dict[str, str]] | None:
    return None


@dataclass(frozen=True)
class Published:
    """A dataset that torchvision can read."""

    name: str
    archives: Callable[[], list[Archive]]
    unpacked: str  # pattern of what torchvision takes for the dataset as soon as it exists
    open: "Callable[[Path, bool], Opened]"  # each split's dataset, downloaded or not
    listing: "Callable[[Opened], Listing]"  # with torchvision's labels, its `val` named valid
    packaged: Callable[[Path, Path | None], list[dict[str, str]] | None] = _not_packaged
    """Unpack it from a package of this machine; its files and checksums, None where it has none."""

    @property
    def source(self) -> Source:
        """The dataset as a `Source`."""
        return Source(fetch=self.fetch, list=self.listed)

    def fetch(self, dataset: Dataset, raw: Path, mirror: Path | None) -> dict[str, Any]:
        """Fetch and unpack it below `raw`; name and checksum of each file.

        Raises:
            DataError: a file is neither in the mirror nor to be downloaded, or is not the
                publisher's.
        """
        raw.mkdir(parents=True, exist_ok=True)
        # An earlier job may have been killed while unpacking, which torchvision would not notice.
        for stale in raw.glob(self.unpacked):
            shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
        fetched = self.packaged(raw, mirror)
        download = fetched is None
        if fetched is None:
            fetched = [_fetch(archive, raw, mirror) for archive in self.archives()]
        self._opened(raw, download)
        return {"files": fetched}

    def listed(self, dataset: Dataset, raw: Path) -> Listed:
        """List it."""
        return Listed(self.listing(self._opened(raw, download=False)), [])

    def _opened(self, raw: Path, download: bool) -> "Opened":
        try:
            return self.open(raw, download)
        except (RuntimeError, OSError, ValueError, EOFError) as error:
            reason = " ".join(str(error).split())
            raise DataError(
                f"{raw}: torchvision cannot read {self.name} ({reason}); delete the folder and run "
                "again"
            ) from error


def _fetch(archive: Archive, raw: Path, mirror: Path | None) -> dict[str, str]:
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


def list_arrays(opened: "Opened") -> Listing:
    """List datasets that torchvision holds as arrays."""
    names = opened[0][1].classes
    return Listing(list(_array_items(opened)), {name: name for name in names})


def _array_items(opened: "Opened") -> Iterator[Item]:
    for split, dataset in opened:
        images, names = np.asarray(dataset.data), dataset.classes
        for position, label in enumerate(np.asarray(dataset.targets)):
            yield Item(f"{split}/{position:05d}", split, names[label], images[position])
