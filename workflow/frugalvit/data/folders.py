"""Folders of images in the ImageFolder layout: one folder a class, with or without splits."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from frugalvit.data.items import SUFFIXES, Item, Listing, is_hidden
from frugalvit.errors import DataError

SPLIT_FOLDERS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
SPLIT_FOLDERS |= {"valid": "valid", "val": "valid", "validation": "valid"}
_SHOWN = 5


def list_folder(root: str | Path, layout: str | None = None) -> Listing:
    """List `{train,valid,test}/<class>/files`, or `<class>/files` as one set to split (train).

    `val` and `validation` mean valid, `training` train, `testing` test. A `layout` of `flat` takes
    such folders for classes; without one, a folder of such a name is a split. Classes are the union over
    the splits, sorted by folder name; a class's images may lie in further folders. Hidden files are
    skipped; other files that are no images are counted. These, and images that lie in no class
    folder, are told in the listing's `notes`.

    Raises:
        DataError: the folder is missing, holds no images or has not the layout that was asked for.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder of images")
    splits = {} if layout == "flat" else _split_folders(root)
    if layout == "splits" and "train" not in splits:
        raise DataError(f"{root}: dataset.layout is splits, but no folder is named 'train'; add it")
    if layout is None:
        _refuse_classes(root, splits)
    listing = Listing([], {})
    classes: set[str] = set()
    others: Counter = Counter()  # by suffix
    for split, folder in (splits or {"train": root}).items():
        for class_folder in folders_of(folder):
            classes.add(class_folder.name)
            for path in files_below(class_folder):
                if path.suffix.lower() in SUFFIXES:
                    name = readable(path.relative_to(root).as_posix(), root)
                    listing.items.append(Item(name, split, class_folder.name, path))
                else:
                    others[path.suffix.lower() or path.name] += 1
    listing.ignored_files = others.total()
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(_SHOWN))
    if not listing.items:
        found = f" (but {kinds}: export them as JPEG or PNG)" if kinds else ""
        raise DataError(
            f"{root}: no images found{found}; expected <class>/<image> or {{train,valid,test}}/"
            "<class>/<image>"
        )
    if kinds:
        listing.notes.append(
            f"files that are no images, or none that can be read, are left out: {kinds}"
        )
    listing.notes += _left_out(root, splits, layout)
    populated = {item.class_key for item in listing.items}
    listing.empty_classes = sorted(classes - populated)
    listing.class_names = {key: key for key in sorted(populated)}
    return listing


def _refuse_classes(root: Path, splits: dict[str, Path]) -> None:
    """Refuse folders that are called like a split but look like classes."""
    remedy = "is a class, set dataset.layout: flat"
    if splits and "train" not in splits:
        name = min(splits.values()).name
        raise DataError(
            f"{root}: the folder {name!r} counts as a split, but none is named 'train'; add it or, "
            f"if {name!r} {remedy}"
        )
    for split, folder in splits.items():
        if not folders_of(folder) and _loose_images(folder):
            raise DataError(
                f"{root}: the folder {folder.name!r} counts as the split {split}, but holds images "
                f"instead of class folders; if it {remedy}, else dataset.layout: splits, which leaves "
                "these images out"
            )


def _loose_images(folder: Path) -> list[str]:
    names = [path.name for path in folder.iterdir() if path.suffix.lower() in SUFFIXES]
    return sorted(name for name in names if not is_hidden(name))


def _left_out(root: Path, splits: dict[str, Path], layout: str | None) -> list[str]:
    """Which images belong to no class, and which folders to no split."""
    notes = []
    for folder in (root, *splits.values()):
        if loose := _loose_images(folder):
            lie = f"{len(loose)} images lie" if len(loose) > 1 else "an image lies"
            are, named = "are" if len(loose) > 1 else "is", ", ".join(loose[:_SHOWN])
            notes.append(f"{folder}: {lie} in no class folder and {are} left out: {named}")
    beside = (
        [path.name for path in folders_of(root) if path not in splits.values()] if splits else []
    )
    if beside:
        known, named = ", ".join(path.name for path in splits.values()), ", ".join(beside[:_SHOWN])
        note = f"{root}: beside {known} these folders are left out: {named}"
        flat = "" if layout else "; if all are classes, set dataset.layout: flat, else splits"
        notes.append(note + flat)
    return notes


def descend(root: Path, layout: str | None = None) -> Path:
    """The folder that holds the dataset: archives often wrap it into one folder of their own."""
    kept = set() if layout == "flat" else set(SPLIT_FOLDERS)
    while True:
        inner = folders_of(root)
        wrapped = len(inner) == 1 and inner[0].name.lower() not in kept
        if not wrapped or not folders_of(inner[0]):
            return root
        root = inner[0]


def listing_digest(root: str | Path) -> str:
    """Checksum of a folder's file names, sizes and dates: changes when its files do.

    Of a single file its own size and date; of nothing, an empty string.
    """
    root = Path(root)
    if not root.exists():
        return ""
    digest = hashlib.sha256()
    for path in [root] if root.is_file() else files_below(root):
        state = path.stat() if path.exists() else path.lstat()  # a broken link is decoding's matter
        line = f"{path.relative_to(root).as_posix()}\0{state.st_size}\0{state.st_mtime_ns}\n"
        digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()


def readable(name: str, root: Path) -> str:
    """The name itself; tables are UTF-8, and a name that is not would break them much later."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{root}: the file name {name!a} is not UTF-8; rename the file") from error
    return name


def _split_folders(root: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in folders_of(root):
        split = SPLIT_FOLDERS.get(folder.name.lower())
        if split is None:
            continue
        if split in found:
            raise DataError(
                f"{root}: both {found[split].name!r} and {folder.name!r} mean {split}; keep "
                "one, or, if they are classes, set dataset.layout: flat"
            )
        found[split] = folder
    return {split: found[split] for split in ("train", "valid", "test") if split in found}


def folders_of(root: Path) -> list[Path]:
    """The folders in `root` that are not hidden, sorted."""
    return sorted(path for path in root.iterdir() if path.is_dir() and not is_hidden(path.name))


def files_below(root: Path) -> Iterator[Path]:
    """Every file below `root` that is not hidden, in an order that no file system decides."""
    seen = {os.path.realpath(root)}  # links to folders are followed, but not in circles
    for folder, folders, files in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        resolved = {name: os.path.realpath(Path(folder, name)) for name in folders}
        folders[:] = [name for name in folders if resolved[name] not in seen]
        seen.update(resolved.values())
        for name in sorted(files):
            if not is_hidden(name):
                yield Path(folder, name)
