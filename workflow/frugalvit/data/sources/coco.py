"""An export in COCO's format: a JSON file a split, with the boxes of its images in px.

Read with `json` and checked entry by entry: pycocotools ends in a KeyError where a key is missing,
and keeps the last of two images with one id, boxes of unknown categories and NaN without a word.
"""

import json
import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frugalvit.data.folders import SPLIT_FOLDERS, folders_of
from frugalvit.data.items import SPLITS, Box
from frugalvit.data.sources.exports import (
    Export,
    Labels,
    around,
    export_root,
    export_source,
    inside,
    read_text,
    shown,
)
from frugalvit.data.sources.source import Dataset, Listed
from frugalvit.errors import DataError

EXPECTED = "train/_annotations.coco.json, or annotations/instances_train.json and images/train"
_LARGEST = 4_000_000_000  # bytes of a JSON file
_ROBOFLOW = "_annotations.coco.json"
_NAME = re.compile(r"(?:instances_)?([a-z]+)(?:_?\d{4})?")


@dataclass
class _Part:
    """The annotation file of a split, and the folders in which its images are looked for."""

    file: Path
    folders: list[Path]


@dataclass
class _Image:
    path: Path
    width: float
    height: float
    labels: Labels


def list_coco(dataset: Dataset, raw: Path) -> Listed:
    """List the images that have an annotation, each with its largest box and that box's category."""
    root = export_root(dataset, raw, lambda folder: bool(_parts(folder)))
    parts = _parts(root)
    if "train" not in parts:
        raise DataError(f"{root}: no annotations of images to train; expected {EXPECTED}")
    export = Export(root)
    names: dict[str, None] = {}  # in the order of the categories
    for split in SPLITS:
        if split not in parts:
            continue
        part = parts[split]
        name = export.name(part.file)
        try:
            about = _read(part.file)
            categories = _categories(about)
        except DataError as error:
            raise DataError(f"{part.file}: {error}") from error.__cause__
        names |= dict.fromkeys(categories.values())
        images = _images(export, part, name, about["images"])
        _add_annotations(export, name, about, images, categories)
        for image in images.values():
            export.add(split, image.path, image.labels, (image.width, image.height))
    return export.closed(names, EXPECTED)


def _parts(root: Path) -> dict[str, _Part]:
    """The annotation file of each split, by its folder's name or its own."""
    found: dict[str, _Part] = {}
    for folder in folders_of(root):
        split = SPLIT_FOLDERS.get(folder.name.lower())
        if split and (folder / _ROBOFLOW).is_file():
            _take(found, split, _Part(folder / _ROBOFLOW, [folder]))
    for file in sorted([*root.glob("annotations/*.json"), *root.glob("instances_*.json")]):
        named = _NAME.fullmatch(file.stem.lower())
        if split := SPLIT_FOLDERS.get(named[1] if named else ""):
            own = file.stem.removeprefix("instances_")
            places = [root / "images" / own, root / own, root / "images", root]
            _take(found, split, _Part(file, [place for place in places if place.is_dir()]))
    alone = [root / _ROBOFLOW, root / "annotations" / "instances_default.json"]
    if not found:
        for file in alone:
            if file.is_file():
                places = [root / "images", root]
                _take(found, "train", _Part(file, [place for place in places if place.is_dir()]))
    return found


def _take(found: dict[str, _Part], split: str, part: _Part) -> None:
    if split in found:
        raise DataError(f"{found[split].file} and {part.file} both mean {split}; keep one")
    found[split] = part


def _read(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(read_text(path, _LARGEST))
    except (ValueError, RecursionError) as error:
        raise DataError(f"no JSON ({' '.join(str(error).split())}); export it anew") from error
    if not isinstance(about, dict):
        raise DataError("no object with images, annotations and categories; export it anew")
    for key in ("images", "annotations", "categories"):
        if not isinstance(about.get(key), list):
            raise DataError(f"no list `{key}`; export it anew, with boxes (instances)")
    return about


def _categories(about: dict[str, Any]) -> dict[Any, str]:
    found: dict[Any, str] = {}
    for number, entry in enumerate(about["categories"]):
        at = f"categories[{number}]"
        number_or_text, name = _id_of(entry), entry.get("name") if isinstance(entry, dict) else None
        if number_or_text is None or not isinstance(name, str) or not name.strip():
            raise DataError(f"{at}: an object with `id` and `name` is expected; mend it")
        name = " ".join(name.split())
        if number_or_text in found:
            raise DataError(f"{at}: id {shown(str(number_or_text))} is given twice; mend it")
        if name in found.values():
            raise DataError(f"{at}: {shown(name)} is named twice; give each category its own name")
        found[number_or_text] = name
    return found


def _images(export: Export, part: _Part, name: str, entries: list) -> dict[Any, _Image]:
    """Images by id; those that cannot be used are listed, and have their fault."""
    found: dict[Any, _Image] = {}
    times = Counter(key for key in map(_id_of, entries) if key is not None)
    for number, entry in enumerate(entries):
        at, key = f"{name}: images[{number}]", _id_of(entry)
        file = entry.get("file_name") if isinstance(entry, dict) else None
        if key is None or not isinstance(file, str):
            export.fault(at, "an object with `id` and `file_name` is expected")
            continue
        path = inside(part.folders, file, Path.is_file)
        if path is None:
            export.fault(at, f"no file {shown(file)} in {export.name(part.folders[0])}")
            continue
        if path in export.taken:
            export.fault(at, f"{shown(file)} is listed before, here or for another split")
            continue
        export.taken.add(path)
        width, height = _number(entry.get("width")), _number(entry.get("height"))
        faults = []
        if times[key] > 1:
            faults.append(f"{at}: id {shown(str(key))} is given to {times[key]} images")
        if not (width and height and width > 0 and height > 0):
            faults.append(f"{at}: no `width` and `height`, px")
        image = _Image(path, width or 1.0, height or 1.0, Labels([], faults))
        if key in found:
            export.fault(export.name(path), faults[0])
        else:
            found[key] = image
    return found


def _add_annotations(
    export: Export,
    name: str,
    about: dict[str, Any],
    images: dict[Any, _Image],
    categories: dict[Any, str],
) -> None:
    entries, known = about["annotations"], set(map(_id_of, about["images"])) - {None}
    numbers = Counter(key for key in map(_id_of, entries) if key is not None)
    if twice := sum(count > 1 for count in numbers.values()):
        export.listing.notes.append(
            f"{name}: {twice} annotation ids, which nothing asks, are repeated"
        )
    for number, entry in enumerate(entries):
        at = f"annotations[{number}]"
        key = _id_of(entry, "image_id")
        if key not in known:
            export.fault(f"{name}: {at}", "its `image_id` is of no image")
        elif (image := images.get(key)) is None:
            continue  # the image's own fault is listed
        elif entry.get("iscrowd"):
            image.labels.crowds += 1
        else:
            try:
                image.labels.add(*_box(entry, image, categories))
            except DataError as error:
                image.labels.faults.append(f"{name}: {at}: {error}")


def _box(entry: dict[str, Any], image: _Image, categories: dict[Any, str]) -> tuple[str, Box]:
    """The category of an annotation and its box in shares of the image's sides."""
    category = _id_of(entry, "category_id")
    if category is None or category not in categories:
        raise DataError("its `category_id` is of no category")
    given = entry.get("bbox")
    if given:
        listed = given if isinstance(given, list) else []
        values = [value for value in map(_number, listed) if value is not None]
        if not len(values) == len(listed) == 4:
            raise DataError("`bbox` is not four finite numbers (left, top, width, height; px)")
        left, top, width, height = values
        edges: Box = (left, top, left + width, top + height)
    else:
        edges = around(_points(entry.get("segmentation")))
    across, down = image.width, image.height
    return categories[category], (
        edges[0] / across, edges[1] / down, edges[2] / across, edges[3] / down,
    )  # fmt: skip


def _points(polygons: Any) -> list[tuple[float, float]]:
    points: list[tuple[float, float]] = []
    for polygon in polygons if isinstance(polygons, list) else []:
        given = polygon if isinstance(polygon, list) else [None]
        values = [value for value in map(_number, given) if value is not None]
        if len(values) != len(given) or len(values) % 2:
            raise DataError("`segmentation` is no list of polygons of finite numbers")
        points += zip(values[::2], values[1::2])
    if not points:
        raise DataError("neither `bbox` nor a polygon in `segmentation`")
    return points


def _number(value: Any) -> float | None:
    """A finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _id_of(entry: Any, key: str = "id") -> int | str | None:
    """An id: a whole number or a text; None where there is none."""
    value = entry.get(key) if isinstance(entry, dict) else None
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


SOURCE = export_source(list_coco)
