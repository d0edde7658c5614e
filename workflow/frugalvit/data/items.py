"""What a source lists: one item an image, before anything is decoded."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from frugalvit.data.annotations import Annotations

if TYPE_CHECKING:
    import numpy as np

SPLITS = ("train", "valid", "test")
_JPEG = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo")
_JPEG2000 = (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx")
_OTHER = (".png", ".apng", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".avif")
_NETPBM = (".ppm", ".pgm", ".pbm", ".pnm")
SUFFIXES = frozenset((*_JPEG, *_JPEG2000, *_OTHER, *_NETPBM))

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One image of a source."""

    file: str  # name shown to people and sorted by; relative to the dataset's root
    split: str  # train, valid or test
    class_key: str  # the class as the source writes it: a folder's name
    image: "Path | np.ndarray"  # a file, or uint8 pixels [h, w] or [h, w, 3]
    box: Box | None = None  # x0 y0 x1 y1 in fractions of the image
    size: tuple[float, float] | None = None  # width and height that its box was drawn for
    group: str = ""  # images of one origin share it; empty when unknown
    label: int = -1
    class_name: str = ""


@dataclass
class Listing:
    """Everything a source holds, and what was left aside."""

    items: list[Item]
    class_names: dict[str, str]  # class key -> readable name, in the order of the labels
    ignored_files: int = 0  # neither hidden nor an image
    empty_classes: list[str] = field(default_factory=list)  # classes without an image
    unnamed_classes: list[str] = field(default_factory=list)  # keys that class_names lacks
    notes: list[str] = field(default_factory=list)  # on files that were left out, a line each
    faults: list[dict[str, str]] = field(default_factory=list)  # `file`, `error`: unusable labels
    annotations: Annotations | None = None  # of sources whose labels have boxes


def is_hidden(name: str) -> bool:
    """Whether a file or folder is a system's own (`.DS_Store`, `__MACOSX`, `Thumbs.db`)."""
    return name.startswith(".") or name in {"__MACOSX", "Thumbs.db", "desktop.ini"}
