"""An export in the format of YOLO, as Roboflow and Ultralytics write it: a text file an image.

`data.yaml` names the classes and may name the folders of the splits. A row of a label file is
`class x y width height`, the centre and size as shares of the image's sides; or a class and the
points of a polygon, which counts as the box around it.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from frugalvit.data.folders import SPLIT_FOLDERS, files_below, folders_of
from frugalvit.data.items import SPLITS, SUFFIXES, Box
from frugalvit.data.sources.exports import (
    Export,
    Labels,
    around,
    export_root,
    export_source,
    inside,
    read_text,
    shown,
    some,
)
from frugalvit.data.sources.source import Dataset, Listed
from frugalvit.errors import DataError

EXPECTED = "data.yaml, and an image's label in labels/ as the image is in images/"
_LARGEST = 10_000_000  # bytes of a label file, or of data.yaml
_KEYS = {"train": ("train",), "valid": ("val", "valid"), "test": ("test",)}
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)


class _Loader(yaml.BaseLoader):
    """Text stays text (a class may be called `no` or 007), and no key is lost to another."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    line = key.start_mark.line + 1
                    raise DataError(f"line {line}: {shown(key.value)} is written twice; keep one")
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def list_yolo(dataset: Dataset, raw: Path) -> Listed:
    """List the images that have a label, each with its largest box and that box's class."""
    root = export_root(dataset, raw, lambda folder: bool(_descriptions(folder)))
    description = _description(root)
    try:
        about = _read(description)
        names = _class_names(about)
        folders = _split_folders(root, about)
    except DataError as error:
        raise DataError(f"{description}: {error}") from error.__cause__
    export = Export(root)
    keypoints = "kpt_shape" in about
    for split in SPLITS:
        for folder in folders.get(split, []):
            _list_split(export, split, folder, names, keypoints)
    return export.closed(names.values(), EXPECTED)


def _descriptions(root: Path) -> list[Path]:
    found = sorted(path for path in root.glob("[!.]*") if path.suffix.lower() in (".yaml", ".yml"))
    return [path for path in found if path.stem.lower() == "data"] or found


def _description(root: Path) -> Path:
    found = _descriptions(root)
    if len(found) != 1:
        what = f"{' and '.join(path.name for path in found)}: keep one" if found else "no data.yaml"
        raise DataError(f"{root}: {what}; it names the classes of an export in YOLO's format")
    return found[0]


def _read(path: Path) -> dict[str, Any]:
    try:
        about = yaml.load(read_text(path, _LARGEST), Loader=_Loader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise DataError(f"no YAML ({' '.join(str(error).split())}); mend the file") from error
    if not isinstance(about, dict):
        raise DataError("no mapping; expected names: [first class, …]")
    return about


def _class_names(about: dict[str, Any]) -> dict[int, str]:
    names = about.get("names")
    if not names or not isinstance(names, dict | list):
        raise DataError("no `names`; expected names: [first class, …]")
    if isinstance(names, list):
        names = {str(number): name for number, name in enumerate(names)}
    found: dict[int, str] = {}
    for key, name in names.items():
        if not re.fullmatch(r"\d{1,9}", key, re.ASCII):
            raise DataError(f"names: {shown(key)} is no class number; write 0: and the first name")
        if not isinstance(name, str) or not name.strip():
            raise DataError(f"names: class {key} has no name; write one")
        if int(key) in found:
            raise DataError(f"names: class {int(key)} is named twice; keep one")
        found[int(key)] = " ".join(name.split())
    numbers: dict[str, int] = {}
    for number, name in found.items():
        if name in numbers:
            raise DataError(
                f"names: classes {numbers[name]} and {number} are both named {shown(name)}; give "
                "each its own name"
            )
        numbers[name] = number
    count = about.get("nc", str(len(found)))
    if count != str(len(found)):
        raise DataError(f"nc: {_shown(count)}, but `names` has {len(found)}; correct either")
    return dict(sorted(found.items()))


def _shown(value: Any) -> str:
    """A value of YAML; lists of aliases may be of any length written out."""
    return shown(value) if isinstance(value, str) else "a list or a mapping"


def _split_folders(root: Path, about: dict[str, Any]) -> dict[str, list[Path]]:
    """The folders of images of each split: those that data.yaml names, else by their names."""
    found: dict[str, list[Path]] = {}
    for split, keys in _KEYS.items():
        named = [key for key in keys if about.get(key, "") not in ("", "~", "null", [])]
        if len(named) > 1:
            raise DataError(f"both `{named[0]}` and `{named[1]}` mean {split}; keep one")
        places = _named(root, about, named[0]) if named else _by_name(root, split)
        if places:
            found[split] = [_images_in(place) for place in places]
    if found and "train" not in found:
        raise DataError(f"there are images to {min(found)} but none to train; name them as `train`")
    found = found or {"train": [_images_in(root)]}
    everywhere = [place for places in found.values() for place in places]
    for number, place in enumerate(everywhere):
        for other in everywhere[:number]:
            if place.is_relative_to(other) or other.is_relative_to(place):
                raise DataError(
                    f"{place} is read for two splits; give each its own folder, or leave one out"
                )
    return found


def _named(root: Path, about: dict[str, Any], key: str) -> list[Path]:
    """The folders that a key of data.yaml names, wherever the export lay when it was written."""
    given = about[key] if isinstance(about[key], list) else [about[key]]
    base = about.get("path", "")
    found = []
    for text in given:
        if not isinstance(text, str) or not isinstance(base, str):
            raise DataError(f"{key}: {_shown(text)} is no path; write one, or leave the key out")
        place = inside([root], f"{base}/{text}" if base else text, Path.is_dir)
        if place is None:
            raise DataError(
                f"{key}: no folder {shown(text)} in {root}; correct it or leave the key out"
            )
        found.append(place)
    return found


def _by_name(root: Path, split: str) -> list[Path]:
    """`train` or `images/train`; `val` and `validation` mean valid, as in folders of classes."""
    places = [root, root / "images"]
    folders = [folder for place in places if place.is_dir() for folder in folders_of(place)]
    found = [folder for folder in folders if SPLIT_FOLDERS.get(folder.name.lower()) == split]
    if len(found) > 1:
        both = " and ".join(folder.relative_to(root).as_posix() for folder in found)
        raise DataError(f"{both} both mean {split}; keep one, or name it here")
    return found


def _images_in(folder: Path) -> Path:
    inner = folder / "images"
    return inner if inner.is_dir() else folder


def _labels_of(root: Path, images: Path) -> Path:
    """The folder of label files: `labels` where the path of the images says `images`, else theirs."""
    parts = list(images.relative_to(root).parts)
    for place in reversed(range(len(parts))):
        if parts[place] == "images":
            parts[place] = "labels"
            labels = root.joinpath(*parts)
            return labels if labels.is_dir() else images
    return images


def _list_split(
    export: Export, split: str, images: Path, names: dict[int, str], keypoints: bool
) -> None:
    folder = _labels_of(export.root, images)
    texts = {
        _stem(path, folder): path
        for path in files_below(folder)
        if path.suffix.lower() == ".txt" and path.name.lower() != "classes.txt"
    }
    met = set()
    for path in files_below(images):
        if path.suffix.lower() not in SUFFIXES:
            export.listing.ignored_files += path.suffix.lower() != ".txt"
            continue
        stem = _stem(path, images)
        met.add(stem)
        text = texts.get(stem)
        labels = _read_labels(text, export.name(text), names, keypoints) if text else Labels([], [])
        export.add(split, path, labels)
    if met and not met & texts.keys():
        raise DataError(
            f"{folder}: no label file for any of the {len(met)} images of {images}; expected {EXPECTED}"
        )
    orphans = [export.name(path) for stem, path in texts.items() if stem not in met]
    if orphans:
        export.listing.notes.append(some("label files without an image are left out", orphans))


def _stem(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def _read_labels(path: Path, name: str, names: dict[int, str], keypoints: bool) -> Labels:
    labels = Labels([], [])
    try:
        lines = read_text(path, _LARGEST).split("\n")
    except DataError as error:
        labels.faults.append(f"{name}: {error}")
        return labels
    for number, line in enumerate(lines, 1):
        columns = line.split()
        if not columns:
            continue
        try:
            labels.add(*_row(columns[:5] if keypoints else columns, names))
        except DataError as error:
            labels.faults.append(f"{name}:{number}: {error}")
    return labels


def _row(columns: list[str], names: dict[int, str]) -> tuple[str, Box]:
    for column in columns:
        if not _NUMBER.fullmatch(column):
            raise DataError(f"{shown(column)} is no number")
    values = [float(column) for column in columns]
    count = len(values)
    if not (count in (5, 6) or (count >= 7 and count % 2)):
        raise DataError(
            f"{count} column{'s' * (count != 1)}; a box has 5 (class, centre x and y, width, height), "
            "a polygon a class and pairs"
        )
    if values[0] not in names:
        raise DataError(
            f"class {shown(columns[0])} is none of data.yaml's {min(names)} to {max(names)}"
        )
    name = names[int(values[0])]
    if count >= 7:
        return name, around(zip(values[1::2], values[2::2]))
    if count == 6 and not 0 <= values[5] <= 1:  # what a model predicts has its confidence
        raise DataError(f"a sixth column is a confidence of 0 to 1, not {shown(columns[5])}")
    x, y, width, height = values[1:5]
    return name, (x - width / 2, y - height / 2, x + width / 2, y + height / 2)


SOURCE = export_source(list_yolo)
