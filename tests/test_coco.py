"""Exports in COCO's format: every layout reads equal, and no malformed annotation becomes a box."""

import copy
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frugalvit.data.batches import ImageSet
from frugalvit.data.boxes import split_targets
from frugalvit.data.prepare import prepare
from frugalvit.data.sources.listing import listed
from frugalvit.data.store import Store
from frugalvit.errors import DataError
from tests.exports import write
from tests.imagefolders import settings, write_image

CATEGORIES = [{"id": 0, "name": "letters"}, {"id": 1, "name": "A"}, {"id": 2, "name": "no"}]
LAYOUTS = {
    "Roboflow": "{split}/_annotations.coco.json {split}/",
    "COCO": "annotations/instances_{split}2017.json images/{split}2017/",
    "COCO beside": "annotations/instances_{split}2017.json {split}2017/",
    "plain": "annotations/{split}.json images/",
    "wrapped": "letters/{split}/_annotations.coco.json letters/{split}/",
}
Boxes = dict[str, list[tuple[int, list[float]]]]  # category and bbox of each annotation, by image


def document(images: Boxes) -> dict:
    about: dict = {"images": [], "annotations": [], "categories": copy.deepcopy(CATEGORIES)}
    for number, (name, boxes) in enumerate(images.items()):
        about["images"].append({"id": number, "file_name": name, "width": 20, "height": 40})
        for category, bbox in boxes:
            about["annotations"].append(
                {
                    "id": len(about["annotations"]),
                    "image_id": number,
                    "category_id": category,
                    "bbox": bbox,
                }
            )
    return about


def export(
    root: Path, splits: dict[str, Boxes], layout="Roboflow", change=lambda about: about
) -> Path:
    for split, images in splits.items():
        file, folder = LAYOUTS[layout].format(split=split).split()
        for name in images:
            write_image(root / folder / name, sum(name.encode()), height=40, width=20)
        about = change(document(images))
        write(root / file, about if isinstance(about, bytes) else json.dumps(about))
    return root


def coco(root: Path, **changes) -> dict:
    return settings(source="coco", path=str(root), **changes)


def found(root: Path) -> dict[str, tuple]:
    items = listed(coco(root), root / "raw").items
    return {Path(item.file).stem: (item.split, item.class_name, item.box) for item in items}


THREE: dict[str, Boxes] = {
    "train": {"a.png": [(2, [5, 10, 10, 20])], "b.png": [(1, [0, 0, 2, 2]), (2, [0, 0, 20, 40])]},
    "valid": {"c.png": [(1, [0, 20, 10, 20])]},
    "test": {"d.png": [(1, [0, 20, 10, 20])]},
}
EXPECTED = {
    "a": ("train", "no", (0.25, 0.25, 0.75, 0.75)),
    "b": ("train", "no", (0.0, 0.0, 1.0, 1.0)),
    "c": ("valid", "A", (0.0, 0.5, 0.5, 1.0)),
    "d": ("test", "A", (0.0, 0.5, 0.5, 1.0)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_reads_equal(tmp_path, layout):
    assert found(export(tmp_path, THREE, layout)) == EXPECTED
    splits = {"train": THREE["train"], "val": THREE["valid"], "test": THREE["test"]}
    assert found(export(tmp_path / "val", splits, layout)) == EXPECTED


@pytest.mark.parametrize("place", ["_annotations.coco.json", "annotations/instances_default.json"])
def test_one_file_is_all_training(tmp_path, place):
    write_image(tmp_path / "images" / "a.png", height=40, width=20)
    write(tmp_path / place, json.dumps(document({"a.png": [(1, [5, 10, 10, 20])]})))
    assert found(tmp_path) == {"a": ("train", "A", (0.25, 0.25, 0.75, 0.75))}


@pytest.mark.parametrize(
    "prefix", ["/home/ann/letters/train/", "C:\\letters\\", "../../", "images/", "./"]
)
def test_files_are_named_by_any_machine(tmp_path, prefix):
    def change(about: dict) -> dict:
        for image in about["images"]:
            image["file_name"] = prefix + image["file_name"]
        return about

    assert found(export(tmp_path, THREE, change=change)) == EXPECTED


def with_entry(key: str, number: int = 0, **changes):
    """A change of one entry of a document; None takes a value away."""

    def change(about: dict) -> dict:
        entry = about[key][number]
        for name, value in changes.items():
            entry.pop(name, None)
            if value is not None:
                entry[name] = value
        return about

    return change


def appended(key: str, *entries):
    return lambda about: about | {key: about[key] + list(entries)}


AT = "train/_annotations.coco.json: "
IMAGE = {"id": 9, "file_name": "a.png", "width": 20, "height": 40}
LISTED = {
    "no box": (with_entry("annotations", bbox=None), "annotations[0]: neither `bbox` nor a polygon"),
    "empty box": (with_entry("annotations", bbox=[]), "annotations[0]: neither `bbox`"),
    "three numbers": (with_entry("annotations", bbox=[1, 2, 3]), "is not four finite numbers"),
    "five numbers": (with_entry("annotations", bbox=[1, 2, 3, 4, 5]), "is not four finite numbers"),
    "text": (with_entry("annotations", bbox=["1", "2", "3", "4"]), "is not four finite numbers"),
    "true": (with_entry("annotations", bbox=[True, 2, 3, 4]), "is not four finite numbers"),
    "mapping": (with_entry("annotations", bbox={"x": 1}), "is not four finite numbers"),
    "NaN": (with_entry("annotations", bbox=[float("nan"), 2, 3, 4]), "is not four finite numbers"),
    "infinity": (with_entry("annotations", bbox=[0, 0, float("inf"), 4]), "not four finite numbers"),
    "no float": (with_entry("annotations", bbox=[0, 0, 10**400, 4]), "is not four finite numbers"),
    "overflow": (with_entry("annotations", bbox=[1e308, 0, 1e308, 4]), "the box is not finite"),
    "zero width": (with_entry("annotations", bbox=[1, 2, 0, 4]), "no width or no height"),
    "negative": (with_entry("annotations", bbox=[9, 9, -4, 4]), "no width or no height"),
    "outside": (with_entry("annotations", bbox=[30, 2, 4, 4]), "reaches out of the image"),
    "no category": (with_entry("annotations", category_id=None), "is of no category"),
    "unknown category": (with_entry("annotations", category_id=7), "is of no category"),
    "category of lists": (with_entry("annotations", category_id=[1]), "is of no category"),
    "RLE": (
        with_entry("annotations", bbox=None, segmentation={"counts": "x", "size": [1, 1]}),
        "neither `bbox` nor a polygon",
    ),
    "odd polygon": (with_entry("annotations", bbox=None, segmentation=[[1, 2, 3]]), "no list of poly"),
    "polygon of text": (with_entry("annotations", bbox=None, segmentation=["ab"]), "no list of poly"),
    "unknown image": (appended("annotations", {"image_id": 99}), "annotations[3]: its `image_id` is"),
    "no annotation": (appended("annotations", None), "annotations[3]: its `image_id` is of no image"),
    "no image": (appended("images", "a.png"), "images[2]: an object with `id` and `file_name`"),
    "no id": (with_entry("images", id=None), "images[0]: an object with `id` and `file_name`"),
    "missing file": (with_entry("images", file_name="x.png"), "images[0]: no file 'x.png' in train"),
    "file outside": (with_entry("images", file_name="../data/other.png"), "no file '../data/other.png'"),
    "a folder": (with_entry("images", file_name=".."), "images[0]: no file '..'"),
    "NUL": (with_entry("images", file_name="a\0.png"), "images[0]: no file 'a\\x00.png'"),
    "listed twice": (appended("images", IMAGE), "images[2]: 'a.png' is listed before"),
    "id of two": (with_entry("images", 1, id=0), "images[0]: id '0' is given to 2 images"),
    "no width": (with_entry("images", width=None), "images[0]: no `width` and `height`, px"),
    "width of text": (with_entry("images", width="20"), "images[0]: no `width` and `height`, px"),
    "no height": (with_entry("images", height=0), "images[0]: no `width` and `height`, px"),
}  # fmt: skip


@pytest.mark.parametrize("kind", LISTED)
def test_what_is_no_label_is_listed_by_file_and_entry(tmp_path, kind):
    change, expected = LISTED[kind]
    root = export(tmp_path / "data", {"train": THREE["train"]}, change=change)
    write_image(tmp_path / "data" / "other.png", 1)
    with pytest.raises(DataError) as refused:
        listed(coco(root), tmp_path)
    words = str(refused.value)
    assert re.match(r"\d labels? cannot be used \(", words)
    assert expected in words
    assert AT in words
    assert "\n" not in words
    assert len(words) < 600
    if kind != "id of two":  # both of which are left out
        kept = listed(coco(root, skip_bad_images=True), tmp_path).items
        assert {Path(item.file).stem for item in kept} <= {"a", "b"}
        assert kept


REFUSED = {
    "no JSON": (lambda about: b"{", "no JSON"),
    "nothing": (lambda about: b"", "no JSON"),
    "Latin-1": (lambda about: b'{"a": "\xe9"}', "line 1 is not UTF-8"),
    "deep": (lambda about: b"[" * 100_000, "no JSON"),
    "long number": (lambda about: b"9" * 10_000, "no JSON"),
    "list": (lambda about: [], "no object with images"),
    "no images": (lambda about: {"annotations": []}, "no list `images`"),
    "images by id": (lambda about: about | {"images": {}}, "no list `images`"),
    "no annotations": (lambda about: {"images": []}, "no list `annotations`"),
    "no categories": (lambda about: about | {"categories": None}, "no list `categories`"),
    "nameless": (
        with_entry("categories", name=None),
        "categories[0]: an object with `id` and `name`",
    ),
    "blank": (with_entry("categories", name=" "), "categories[0]: an object with `id` and `name`"),
    "number": (with_entry("categories", name=5), "categories[0]: an object with `id` and `name`"),
    "no category": (appended("categories", 3), "categories[3]: an object with `id` and `name`"),
    "id twice": (with_entry("categories", 1, id=0), "categories[1]: id '0' is given twice"),
    "name twice": (with_entry("categories", 1, name="no"), "categories[2]: 'no' is named twice"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_malformed_file_is_one_line(tmp_path, kind):
    change, expected = REFUSED[kind]
    root = export(tmp_path, THREE, change=change)
    with pytest.raises(DataError, match=r"train/_annotations\.coco\.json: ") as refused:
        listed(coco(root, skip_bad_images=True), tmp_path)
    assert expected in str(refused.value)
    assert "\n" not in str(refused.value)


def test_layouts_that_are_none(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(DataError, match="no annotations of images to train; expected train/_annot"):
        listed(coco(tmp_path / "a"), tmp_path)
    root = export(tmp_path / "b", {"train": THREE["train"], "training": THREE["valid"]})
    with pytest.raises(DataError, match=r"training/_annot\S+ both mean train; keep one"):
        listed(coco(root), tmp_path)
    root = export(tmp_path / "c", {"train": {"a.png": []}})
    with pytest.raises(DataError, match="no image has a label"):
        listed(coco(root), tmp_path)
    root = export(
        tmp_path / "d", {"train": THREE["train"], "test": {"a.png": [(1, [0, 0, 9, 9])]}}, "plain"
    )
    with pytest.raises(DataError, match=r"'a.png' is listed before, here or for another split"):
        listed(coco(root), tmp_path)


def test_what_is_left_out_is_counted(tmp_path):
    def change(about: dict) -> dict:
        about["annotations"][0] |= {"iscrowd": 1, "bbox": None}
        about["annotations"][2] |= {
            "bbox": None,
            "segmentation": [[4, 8, 12, 8], [12, 24, 20.5, 24]],
        }
        about["annotations"][1]["id"] = 0
        about["images"].append({"id": 7, "file_name": "none.png", "width": 20, "height": 40})
        return about

    root = export(
        tmp_path, {"train": THREE["train"] | {"c.png": [(1, [0, 0, 5, 5])]}}, change=change
    )
    write_image(root / "train" / "none.png", 5)
    write_image(root / "train" / "extra.png", 6)
    listing = listed(coco(root), tmp_path)
    assert listing.annotations.record() == {
        "boxes": 3, "beyond_largest": 1, "clipped": 1, "crowds": 1,
        "unlabelled": ["train/a.png", "train/none.png"],
    }  # fmt: skip
    [other, item] = listing.items
    assert (Path(item.file).stem, item.box) == ("b", (0.2, 0.2, 1.0, 0.6))
    assert (Path(other.file).stem, other.box) == ("c", (0.0, 0.0, 0.25, 0.125))
    assert listing.empty_classes == ["letters"]
    assert listing.notes == [
        "train/_annotations.coco.json: 1 annotation ids, which nothing asks, are repeated",
        "images without a label are left out (2): train/a.png, train/none.png",
        "images that belong to no split are left out (1): train/extra.png",
    ]


def test_boxes_reach_the_model_as_they_were_written(tmp_path):
    random = np.random.default_rng(0)
    low, size = random.random((30, 2)) * 10, 1 + random.random((30, 2)) * 9
    boxes = np.concatenate([low, low + size], axis=1)
    images = {
        f"{n:02d}.png": [(1 + n % 2, [*place, *extent])]
        for n, (place, extent) in enumerate(zip(low.tolist(), size.tolist()))
    }
    root = export(tmp_path / "data", {"train": images})
    for path in (root / "train").glob("*.png"):
        Image.open(path).resize((20, 20)).save(path)
    about = json.loads((root / "train/_annotations.coco.json").read_text())
    for image in about["images"]:
        image["height"] = 20
    write(root / "train/_annotations.coco.json", json.dumps(about))
    prepare(coco(root, resize=20, crop=20), tmp_path / "raw", tmp_path / "store")
    store = Store(tmp_path / "store")
    how = {"image_size": 20, "mean": [0.0] * 3, "std": [1.0] * 3}
    classes, targets = split_targets(
        ImageSet(store, store.ids("train"), how, boxed=True).targets(range(30))
    )
    written = [int(Path(file).stem) for file in store.index["file"]]
    assert classes.tolist() == [number % 2 for number in written]
    np.testing.assert_allclose(targets.numpy(), boxes[written] / 20, atol=1e-6)


def test_boxes_drawn_before_an_image_was_turned_are_listed(tmp_path):
    root = export(tmp_path / "data", {"train": THREE["train"]})
    image = Image.open(root / "train" / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(root / "train" / "a.png", exif=exif)
    with pytest.raises(
        DataError, match=r"a.png: is 40 x 20 px upright, but its boxes were drawn for 20 x 40"
    ):
        prepare(coco(root), tmp_path / "raw", tmp_path / "store")
