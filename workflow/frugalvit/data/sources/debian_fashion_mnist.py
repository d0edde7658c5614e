"""FashionMNIST from Debian's package `dataset-fashion-mnist`, compared by content.

The package's gz files are compressed anew, so that their checksums are not the publisher's; what
is inside is the same to the byte. The sums below are of the four uncompressed idx files.
"""

import gzip
import hashlib
import logging
from pathlib import Path

from frugalvit.files import atomic_path

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
