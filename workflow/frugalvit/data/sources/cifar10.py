"""CIFAR-10."""

from pathlib import Path
from typing import TYPE_CHECKING

from frugalvit.data.sources.published import Archive, Published, list_arrays

if TYPE_CHECKING:
    from frugalvit.data.sources.published import Opened


def archives() -> list[Archive]:
    """The publisher's file."""
    from torchvision.datasets import CIFAR10

    return [Archive(CIFAR10.filename, (CIFAR10.url,), CIFAR10.tgz_md5, "")]


def open_splits(raw: Path, download: bool) -> "Opened":
    """The training and the test split."""
    from torchvision.datasets import CIFAR10

    return [
        ("train", CIFAR10(str(raw), train=True, download=download)),
        ("test", CIFAR10(str(raw), train=False, download=download)),
    ]


SOURCE = Published("cifar10", archives, "cifar-10-batches-py", open_splits, list_arrays).source
