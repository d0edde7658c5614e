"""FashionMNIST, from its publisher or from Debian's package `dataset-fashion-mnist`.

The package is compared by content: its gz files are compressed anew, so that their checksums are
not the publisher's; what is inside is the same to the byte. The sums below are of the four
uncompressed idx files.
"""

import gzip
import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from frugalvit.data.download import find_in_mirror
from frugalvit.data.sources.published import Archive, Published, list_arrays
from frugalvit.files import atomic_path

if TYPE_CHECKING:
    from frugalvit.data.sources.published import Opened

log = logging.getLogger(__name__)

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
CONTENT_SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}


def copy_from_package(target: Path, package: Path | None = None) -> bool:
    """Unpack the package's idx files into `target`; False where it is absent or differs.

    Args:
        target: the folder `FashionMNIST/raw` that torchvision reads.
        package: the package's folder; Debian's by default.
    """
    package = package or DEBIAN_FOLDER
    if not all((package / f"{name}.gz").is_file() for name in CONTENT_SHA256):
        return False
    for name, expected in CONTENT_SHA256.items():
        try:
            content = gzip.decompress((package / f"{name}.gz").read_bytes())
        except (OSError, EOFError) as error:
            log.warning("%s: %s; not used", package / f"{name}.gz", error)
            return False
        if hashlib.sha256(content).hexdigest() != expected:
            log.warning("%s: its content is not FashionMNIST's; not used", package / f"{name}.gz")
            return False
        with atomic_path(target / name) as temporary:
            temporary.write_bytes(content)
    log.info("FashionMNIST: from the Debian package in %s", package)
    return True


def packaged(raw: Path, mirror: Path | None) -> list[dict[str, str]] | None:
    """The package's files, where the mirror has none of the publisher's."""
    if any(find_in_mirror(archive.name, mirror) for archive in archives()):
        return None
    if not copy_from_package(raw / "FashionMNIST" / "raw"):
        return None
    return [{"file": name, "sha256": sha256} for name, sha256 in CONTENT_SHA256.items()]


def archives() -> list[Archive]:
    """The publisher's files, and where else they lie."""
    from torchvision.datasets import FashionMNIST

    return [
        Archive(name, tuple(base + name for base in FashionMNIST.mirrors), md5, "FashionMNIST/raw")
        for name, md5 in FashionMNIST.resources
    ]


def open_splits(raw: Path, download: bool) -> "Opened":
    """The training and the test split."""
    from torchvision.datasets import FashionMNIST

    return [
        ("train", FashionMNIST(str(raw), train=True, download=download)),
        ("test", FashionMNIST(str(raw), train=False, download=download)),
    ]


SOURCE = Published(
    "fashion_mnist", archives, "FashionMNIST/raw/*-ubyte", open_splits, list_arrays, packaged
).source
