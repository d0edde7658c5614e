"""What exports of labelled boxes share: a folder or an archive, paths of other machines, boxes.

What one of their files says is never followed out of the export.
"""

import math
import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from frugalvit.data.annotations import Annotations
from frugalvit.data.folders import files_below, folders_of, readable
from frugalvit.data.items import SUFFIXES, Box, Item, Listing
from frugalvit.data.sources import archive, folder
from frugalvit.data.sources.source import Dataset, Listed, Source
from frugalvit.errors import ConfigError, DataError

OVERSHOOT = 0.05  # of the image's side: what a box may reach past an edge and is clipped
_ROUNDING = 1e-5  # of it: no overshoot, but a label's few digits
_SHOWN = 5
_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def export_source(listed: Callable[[Dataset, Path], Listed]) -> Source:
    """A source whose `dataset.path` is a folder or an archive of one export."""
    return Source(fetch=_fetch, list=listed, check=_check, stamp=folder.SOURCE.stamp)


def _is_folder(dataset: Dataset) -> bool:
    return bool(dataset["path"]) and Path(dataset["path"]).expanduser().is_dir()


def _fetch(dataset: Dataset, raw: Path, mirror: Path | None) -> dict[str, Any]:
    source = folder.SOURCE if _is_folder(dataset) else archive.SOURCE
    return source.fetch(dataset, raw, mirror)


def _check(dataset: Dataset, key: str, mirror: str | None) -> None:
    """Check that `path` names a folder or an archive."""
    path = dataset["path"]
    if not path:
        raise ConfigError(
            f"{key}.path: missing; source {dataset['source']} needs the folder or archive of an export"
        )
    if path.lower().endswith((".yaml", ".yml", ".json")):
        raise ConfigError(
            f"{key}.path: '{path}' is one file of an export; name the folder it is in"
        )
    if not _is_folder(dataset):
        archive.SOURCE.check(dataset, key, mirror)


def export_root(dataset: Dataset, raw: Path, is_export: Callable[[Path], bool]) -> Path:
    """The export's own folder: often one folder deeper than what was given or unpacked."""
    given = Path(dataset["path"] or "").expanduser()
    root = start = given.resolve() if _is_folder(dataset) else raw / archive.UNPACKED
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; correct dataset.path")
    while not is_export(root):
        inner = folders_of(root)
        if len(inner) != 1:
            return start
        root = inner[0]
    return root


def read_text(path: Path, largest: int) -> str:
    """A text file: UTF-8, or UTF-16 with its mark; `\\n` ends its lines, whatever did.

    Raises:
        DataError: the reason (no file name: the caller knows it).
    """
    try:
        if not path.is_file():
            raise DataError("no regular file")
        with path.open("rb") as file:
            raw = file.read(largest + 1)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})") from error
    if len(raw) > largest:
        raise DataError(f"larger than {largest} bytes")
    encoding = next((name for mark, name in _MARKS.items() if raw.startswith(mark)), "utf-8")
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(f"line {line} is not {encoding.upper()}; save the file as UTF-8") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def inside(roots: Sequence[Path], text: str, found: Callable[[Path], bool]) -> Path | None:
    """What a path of any machine names in an export, by as many of its last parts as lie there.

    `..`, a root and a drive count for nothing, so that nothing outside of `roots` is ever found.
    """
    path = PurePosixPath(posixpath.normpath(text.replace("\\", "/")))
    parts = [part for part in path.parts if part.strip("/") not in ("", ".", "..")]
    for first in range(max(len(parts), 1)):
        for root in roots:
            try:
                if found(place := root.joinpath(*parts[first:])):
                    return place
            except (OSError, ValueError):  # a name that no file can have
                continue
    return None


def shown(text: str) -> str:
    """A piece of a file for a message: short, and on one line whatever it holds."""
    return ascii(text if len(text) <= 30 else text[:30] + "...")


def around(points: Iterable[tuple[float, float]]) -> Box:
    """The box around a polygon."""
    xs, ys = zip(*points)
    return min(xs), min(ys), max(xs), max(ys)


def cut(edges: Box) -> tuple[Box, bool]:
    """A box within the image, and whether it had to be clipped.

    Raises:
        DataError: it is no box, or reaches farther out than drawing by hand explains.
    """
    if not all(math.isfinite(edge) for edge in edges):
        raise DataError("the box is not finite")
    if edges[2] <= edges[0] or edges[3] <= edges[1]:
        raise DataError("the box has no width or no height")
    over = max(0.0 - min(edges), max(edges) - 1.0)
    if over > OVERSHOOT:
        reach = ", ".join(f"{edge:.4g}" for edge in edges)
        raise DataError(
            f"the box reaches out of the image (edges {reach} as shares of its sides; are they px?)"
        )
    left, top, right, bottom = (min(max(edge, 0.0), 1.0) for edge in edges)
    if right <= left or bottom <= top:
        raise DataError("the box lies outside the image")
    return (left, top, right, bottom), over > _ROUNDING


@dataclass
class Labels:
    """The labels of one image: boxes with their classes, and what is wrong."""

    boxes: list[tuple[str, Box]]
    faults: list[str]  # each with its place
    clipped: int = 0
    crowds: int = 0

    def add(self, class_name: str, edges: Box) -> None:
        """Take a box in shares of the image's sides; raises DataError as `cut` does."""
        box, clipped = cut(edges)
        self.boxes.append((class_name, box))
        self.clipped += clipped


class Export:
    """A listing in the making.

    Attributes:
        listing: without `class_names` before it is `closed`.
        taken: the files met so far.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.counts = Annotations()
        self.listing = Listing([], {}, annotations=self.counts)
        self.taken: set[Path] = set()

    def name(self, path: Path) -> str:
        """A file's name for people: its path within the export."""
        return readable(path.relative_to(self.root).as_posix(), self.root)

    def fault(self, file: str, error: str) -> None:
        """List a label that cannot be used."""
        self.listing.faults.append({"file": file, "error": error})

    def add(
        self, split: str, path: Path, labels: Labels, size: tuple[float, float] | None = None
    ) -> None:
        """Take one image, with the class and the box of the largest of its boxes."""
        self.taken.add(path)
        file = self.name(path)
        if labels.faults:
            more = f" (and {len(labels.faults) - 1} more)" if labels.faults[1:] else ""
            self.fault(file, labels.faults[0] + more)
            return
        self.counts.crowds += labels.crowds
        if not labels.boxes:
            self.counts.unlabelled.append(file)
            return
        class_name, box = max(labels.boxes, key=lambda one: _area(one[1]))  # the first of equals
        self.counts.boxes += len(labels.boxes)
        self.counts.beyond_largest += len(labels.boxes) - 1
        self.counts.clipped += labels.clipped
        group = _origin(split, path)
        self.listing.items.append(Item(file, split, class_name, path, box, size, group))

    def closed(self, names: Iterable[str], described_by: str) -> Listed:
        """The listing, its classes those of `names` that have images.

        Raises:
            DataError: no image of a split has a label, or there are no images.
        """
        listing = self.listing
        if not listing.items and not listing.faults:
            raise DataError(f"{self.root}: no image has a label; expected {described_by}")
        populated = {item.class_key for item in listing.items}
        listing.class_names = {name: name for name in names if name in populated}
        listing.empty_classes = [name for name in names if name not in populated]
        listing.notes += self._notes()
        return Listed(listing, [self.root])

    def _notes(self) -> Iterator[str]:
        if self.counts.unlabelled:
            yield some("images without a label are left out", self.counts.unlabelled)
        images = (path for path in files_below(self.root) if path.suffix.lower() in SUFFIXES)
        beside = [self.name(path) for path in images if path not in self.taken]
        if beside:
            yield some("images that belong to no split are left out", beside)


def some(what: str, names: Sequence[str]) -> str:
    """A note: what, how many, and the first of them."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{what} ({len(names)}): {', '.join(names[:_SHOWN])}{more}"


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _origin(split: str, path: Path) -> str:
    """Roboflow exports several augmented versions of a photo, named `{photo}.rf.{number}`.

    By split, for different photos may share a name, and the versions of one lie in one split.
    """
    photo, mark, _ = path.name.rpartition(".rf.")
    return f"{split}/{photo}" if mark else ""
