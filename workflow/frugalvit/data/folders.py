"""Folders of images in the ImageFolder layout: one folder a class, with or without splits."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from frugalvit.data.items import SUFFIXES, Item, Listing, is_hidden
from frugalvit.errors import DataError

_SPLIT_FOLDERS = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid"}
_SPLIT_FOLDERS |= {"test": "test"}


def list_folder(root: str | Path) -> Listing:
    """List `{train,valid,test}/<class>/files`, or `<class>/files` as one set to split (train).

    `val` and `validation` mean valid. Classes are the union over the splits, sorted by folder
    name; a class's images may lie in further folders. Hidden files are skipped, other files that
    are no images are counted.

    Raises:
        DataError: the folder is missing, holds no images, or mixes the two layouts.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder of images")
    splits = _split_folders(root)
    if splits and "train" not in splits:
        raise DataError(f"{root}: it has a folder {min(splits)!r} but none named 'train'")
    listing = Listing([], {})
    classes: set[str] = set()
    for split, folder in (splits or {"train": root}).items():
        for class_folder in _folders(folder):
            classes.add(class_folder.name)
            for path in _files(class_folder):
                if path.suffix.lower() in SUFFIXES:
                    name = _readable(path.relative_to(root).as_posix(), root)
                    listing.items.append(Item(name, split, class_folder.name, path))
                else:
                    listing.ignored_files += 1
    if not listing.items:
        raise DataError(
            f"{root}: no images found; expected <class>/<image> or {{train,valid,test}}/<class>/"
            "<image>"
        )
    populated = {item.class_key for item in listing.items}
    listing.empty_classes = sorted(classes - populated)
    listing.class_names = {key: key for key in sorted(populated)}
    return listing


def descend(root: Path) -> Path:
    """The folder that holds the dataset: archives often wrap it into one folder of their own."""
    while True:
        inner = _folders(root)
        wrapped = len(inner) == 1 and inner[0].name.lower() not in _SPLIT_FOLDERS
        if not wrapped or not _folders(inner[0]):
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
    for path in [root] if root.is_file() else _files(root):
        state = path.stat() if path.exists() else path.lstat()  # a broken link is decoding's matter
        line = f"{path.relative_to(root).as_posix()}\0{state.st_size}\0{state.st_mtime_ns}\n"
        digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()


def source_stamp(dataset: dict) -> str:
    """Checksum that changes with a user's own folder or archive; empty for any other source.

    For a rule's parameters, so that an edited folder of images reruns what depends on it.
    """
    if dataset["source"] not in {"folder", "archive"} or not dataset["path"]:
        return ""
    return listing_digest(Path(dataset["path"]).expanduser())


def _readable(name: str, root: Path) -> str:
    """The name itself; tables are UTF-8, and a name that is not would break them much later."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{root}: the file name {name!a} is not UTF-8; rename the file") from error
    return name


def _split_folders(root: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in _folders(root):
        split = _SPLIT_FOLDERS.get(folder.name.lower())
        if split is None:
            continue
        if split in found:
            raise DataError(
                f"{root}: both {found[split].name!r} and {folder.name!r} mean {split}; keep one"
            )
        found[split] = folder
    return {split: found[split] for split in ("train", "valid", "test") if split in found}


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not is_hidden(path.name))


def _files(root: Path) -> Iterator[Path]:
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
