"""Exports in YOLO's format: every layout reads equal, and no malformed label becomes a box."""

import json
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest

from frugalvit.config.study import load_study
from frugalvit.data.annotations import told
from frugalvit.data.batches import ImageSet
from frugalvit.data.boxes import split_targets
from frugalvit.data.checks import check, checks_table
from frugalvit.data.prepare import prepare
from frugalvit.data.sources.listing import download, list_items, listed
from frugalvit.data.splits import assign
from frugalvit.data.store import Store
from frugalvit.errors import ConfigError, DataError
from tests.exports import GOOD, LAYOUTS, NAMES, export, write, yolo
from tests.imagefolders import settings, write_image
from tests.small_study import ARCHITECTURE


def found(root: Path, **changes) -> dict[str, tuple]:
    """Split, class and box of each image, by its name without folders."""
    items = list_items(yolo(root, **changes), root / "raw").items
    return {Path(item.file).stem: (item.split, item.class_name, item.box) for item in items}


THREE = {"train/a": GOOD, "train/b": "2 0.25 0.25 0.5 0.5", "valid/c": GOOD, "test/d": GOOD}
EXPECTED = {
    "a": ("train", "no", (0.375, 0.25, 0.625, 0.75)),
    "b": ("train", "007", (0.0, 0.0, 0.5, 0.5)),
    "c": ("valid", "no", (0.375, 0.25, 0.625, 0.75)),
    "d": ("test", "no", (0.375, 0.25, 0.625, 0.75)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_reads_equal(tmp_path, layout):
    assert found(export(tmp_path, THREE, layout)) == EXPECTED


@pytest.mark.parametrize("name", ["val", "validation", "Valid"])
def test_validation_may_have_its_other_names(tmp_path, name):
    labels = {place.replace("valid", name): text for place, text in THREE.items()}
    for layout in ("split first", "images first"):
        assert found(export(tmp_path / layout, labels, layout)) == EXPECTED


@pytest.mark.parametrize(
    "about",
    [
        "nc: 3\nnames: ['A', 'no', '007']\n",
        "names:\n  0: A\n  1: no\n  2: 007\n",
        "names: {2: 007, 0: A, 1: no}\nnc: '3'\n",
        NAMES + "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n",
        NAMES + "train: train\nvalid: ./valid/\ntest:\n",
        NAMES + "train: /home/ann/letters/train/images\nval: /home/ann/letters/valid/images\n",
        NAMES + "train: C:\\Users\\Ann\\letters\\train\\images\nval: 'D:\\valid\\images'\n",
        NAMES + "path: ..\\datasets\\letters\ntrain: train\\images\nval: [valid/images]\n",
        NAMES + "train: a/../train/images\nval: //server/share/valid/images\n",
        b"\xef\xbb\xbf" + NAMES.encode(),
        NAMES.encode("utf-16"),
        NAMES.replace("\n", "\r\n").encode() + b"nc: 3\r\n",
    ],
)
def test_data_yaml_of_any_machine(tmp_path, about):
    assert found(export(tmp_path, THREE, about=about)) == EXPECTED


def test_one_folder_of_images_is_all_training(tmp_path):
    root = tmp_path / "data"
    write_image(root / "images" / "a.png")
    write(root / "labels" / "a.txt", GOOD)
    write(root / "data.yaml", NAMES)
    assert found(root)["a"][0] == "train"


def test_an_archive_is_read_as_its_folder(tmp_path):
    root = export(tmp_path / "letters", THREE)
    archive = tmp_path / "letters.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(root, "letters")
    dataset = settings(source="yolo", path=str(archive))
    marker = download(dataset, tmp_path / "raw")
    assert marker["files"][0]["file"] == "letters.tar"
    items = list_items(dataset, tmp_path / "raw").items
    assert {
        Path(item.file).stem: (item.split, item.class_name, item.box) for item in items
    } == EXPECTED
    folder = download(yolo(root), tmp_path / "other")
    assert folder["path"] == str(root)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD + "\n2 0.5 0.5 0.6 0.6\n0 0.1 0.1 0.1 0.1", ("007", (0.2, 0.2, 0.8, 0.8))),
        ("0 0.5 0.5 0.5 0.5\n1 0.5 0.5 0.5 0.5", ("A", (0.25, 0.25, 0.75, 0.75))),
        ("1 0.1 0.2 0.5 0.1 0.3 0.9", ("no", (0.1, 0.1, 0.5, 0.9))),
        ("1 0.5 0.5 0.25 0.5 0.93", ("no", (0.375, 0.25, 0.625, 0.75))),
        ("\r\n1.0\t5e-1 .5 0.25  0.5 \r\n\r\n", ("no", (0.375, 0.25, 0.625, 0.75))),
        ("1 0.5 0.5 0.25 0.5\r", ("no", (0.375, 0.25, 0.625, 0.75))),
        (b"\xef\xbb\xbf" + GOOD.encode(), ("no", (0.375, 0.25, 0.625, 0.75))),
        (GOOD.encode("utf-16"), ("no", (0.375, 0.25, 0.625, 0.75))),
        ("1 0.02 0.5 0.1 0.5", ("no", (0.0, 0.25, 0.07, 0.75))),
        ("1 0.5 0.5 1.000001 1", ("no", (0.0, 0.0, 1.0, 1.0))),
    ],
)
def test_labels_that_can_be_used(tmp_path, text, expected):
    split, name, box = found(export(tmp_path, {"train/a": text}))["a"]
    assert (split, name) == ("train", expected[0])
    assert box == pytest.approx(expected[1], abs=1e-9)


def test_keypoints_behind_a_box_are_no_polygon(tmp_path):
    about = NAMES + "kpt_shape: [1, 2]\n"
    assert found(export(tmp_path, {"train/a": GOOD + " 0.1 0.9"}, about=about))["a"][2] == (
        0.375, 0.25, 0.625, 0.75,
    )  # fmt: skip


ROWS = {
    "3 0.5 0.5 0.2 0.2": "class '3' is none of data.yaml's 0 to 2",
    "-1 0.5 0.5 0.2 0.2": "class '-1' is none",
    "1.5 0.5 0.5 0.2 0.2": "class '1.5' is none",
    "1e400 0.5 0.5 0.2 0.2": "class '1e400' is none",
    "A 0.5 0.5 0.2 0.2": "'A' is no number",
    "1 0.5 0.5 nan 0.2": "'nan' is no number",
    "1 inf 0.5 0.2 0.2": "'inf' is no number",
    "1 1e400 0.5 0.2 0.2": "not finite",
    "1 0.5 0.5 0.2 -0.2": "no width or no height",
    "1 0.5 0.5 0 0.2": "no width or no height",
    "1 0.5 0.5 1e-30 0.2": "no width or no height",
    "1 0.5 0.5 0.2": "4 columns; a box has 5",
    "1": "1 column; a box has 5",
    "1 0.1 0.2 0.5 0.1 0.3 0.9 0.4": "8 columns",
    "1 0.5 0.5 0.2 0.2 12": "a sixth column is a confidence of 0 to 1, not '12'",
    "1,0.5,0.5,0.2,0.2": "is no number",
    "1 0,5 0,5 0,2 0,2": "'0,5' is no number",
    "1 0_5 0.5 0.2 0.2": "'0_5' is no number",
    "1 \u0660.5 0.5 0.2 0.2": "is no number",
    "# made by hand": "'#' is no number",
    "1 208 208 100 100": "reaches out of the image",
    "1 0.5 0.5 1.3 0.2": "are they px?",
    "1 -0.2 0.5 0.2 0.2": "reaches out of the image",
    "1 1.02 0.5 0.04 0.2": "outside the image",
    "1 0.3 0.3 0.3 0.3 0.3 0.3": "no width or no height",
    "1 0.5 0.5 0.2 0.2\0": "is no number",
    '{"class": 1}': "is no number",
    "1 " + "9" * 5000: "2 columns",
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
def test_a_row_that_is_no_label_is_listed_by_file_and_line(tmp_path, row):
    root = export(tmp_path, {"train/a": GOOD, "train/bad": f"{GOOD}\n{row}\n", "valid/c": GOOD})
    with pytest.raises(DataError) as refused:
        listed(yolo(root), tmp_path)
    words = str(refused.value)
    assert "\n" not in words
    assert len(words) < 500
    assert words.startswith(
        "1 label cannot be used (train/images/bad.png: train/labels/bad.txt:2: "
    )
    assert ROWS[row] in words
    assert words.endswith("mend them or set dataset.skip_bad_images: true")
    listing = listed(yolo(root, skip_bad_images=True), tmp_path)
    assert [Path(item.file).stem for item in listing.items] == ["a", "c"]
    assert [fault["file"] for fault in listing.faults] == ["train/images/bad.png"]


FILES = {
    "Latin-1": (b"1 0.5 0.5 0.2 0.2\n# \xe9t\xe9\n", "bad.txt: line 2 is not UTF-8"),
    "UTF-16 without a mark": (GOOD.encode("utf-16-le"), "bad.txt:1: "),
    "half of UTF-16": (b"\xff\xfe1", "is not UTF-16"),
    "binary": (bytes(range(256)), "line 2 is not UTF-8"),
    "huge": (b"\n" * 10_000_001, "larger than 10000000 bytes"),
}


@pytest.mark.parametrize("kind", [*FILES, "folder"])
def test_a_file_that_is_no_text_is_listed(tmp_path, kind):
    content, expected = FILES.get(kind, (None, ""))
    root = export(tmp_path, {"train/a": GOOD, "train/bad": content})
    if kind == "folder":
        (root / "train/labels/bad.txt").symlink_to(tmp_path / "nowhere")
        expected = "bad.txt: no regular file"
    with pytest.raises(DataError, match=re.escape(expected)):
        listed(yolo(root), tmp_path)


def test_faults_are_listed_all_at_once(tmp_path):
    labels = {f"train/{number:02d}": "7 0.5 0.5 0.2 0.2\n1 1 1" for number in range(12)}
    root = export(tmp_path, labels)
    with pytest.raises(DataError, match=r"^12 labels .*\(and 1 more\); .*and 2 more\); mend them"):
        listed(yolo(root), tmp_path)
    with pytest.raises(DataError, match="none is left"):
        listed(yolo(root, skip_bad_images=True), tmp_path)


DESCRIPTIONS = {
    "": "no mapping",
    "- A\n- B\n": "no mapping",
    "names: [A, B": "no YAML",
    "names: \x07\n": "no YAML",
    "nc: 3\n": "no `names`",
    "names: A\n": "no `names`",
    "names: []\n": "no `names`",
    "names: [A, [B]]\n": "class 1 has no name",
    "names: [A, '', C]\n": "class 1 has no name",
    "names: [A, B, A]\n": "classes 0 and 2 are both named 'A'",
    "names: {a: A}\n": "'a' is no class number",
    "names: {0: A, 0: B}\n": "line 1: '0' is written twice",
    "names: {0: A, 00: B}\n": "class 0 is named twice",
    "names: {-1: A, 1: B}\n": "'-1' is no class number",
    NAMES + "nc: 2\n": "nc: '2', but `names` has 3",
    NAMES + "nc: three\n": "nc: 'three', but `names` has 3",
    NAMES + "nc: [3]\n": "nc: a list or a mapping, but",
    NAMES + "train: ../elsewhere/pictures\n": "train: no folder '../elsewhere/pictures' in",
    NAMES + "train: https://example.org/a.zip\n": "train: no folder",
    NAMES + "train: train.txt\n": "train: no folder 'train.txt'",
    NAMES + "train: {a: b}\n": "train: a list or a mapping is no path",
    NAMES + "train: train/images\nval: train/images\n": "is read for two splits",
    NAMES + "train: .\n": "is read for two splits",
    NAMES + "val: valid\nvalid: valid\n": "both `val` and `valid` mean valid",
    NAMES + f"train: {'x' * 5000}\n": "train: no folder",
    b"names: [\xe9]\n": "line 1 is not UTF-8",
    "a: &a [x, x]\nb: &b [*a, *a]\nnames: [*b, *b]\n": "class 0 has no name",
    "names: &n [*n]\n": "no YAML",
    "[" * 3000: "no YAML",
}  # fmt: skip


@pytest.mark.parametrize("about", DESCRIPTIONS, ids=range(len(DESCRIPTIONS)))
def test_a_malformed_data_yaml_is_one_line(tmp_path, about):
    root = export(tmp_path, THREE, about=about)
    with pytest.raises(DataError, match=r"data\.yaml: ") as refused:
        listed(yolo(root), tmp_path)
    assert DESCRIPTIONS[about] in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500


def test_layouts_that_are_none(tmp_path):
    root = export(tmp_path / "a", THREE)
    (root / "data.yaml").rename(root / "one.yml")
    assert found(root) == EXPECTED
    write(root / "two.yaml", NAMES)
    with pytest.raises(DataError, match=r"one.yml and two.yaml: keep one"):
        listed(yolo(root), tmp_path)
    for name in ("one.yml", "two.yaml"):
        (root / name).unlink()
    with pytest.raises(DataError, match=r"no data.yaml; it names the classes"):
        listed(yolo(root), tmp_path)
    root = export(tmp_path / "b", {"valid/a": GOOD})
    with pytest.raises(DataError, match="images to valid but none to train"):
        listed(yolo(root), tmp_path)
    root = export(tmp_path / "c", THREE | {"val/e": GOOD})
    with pytest.raises(DataError, match="val and valid both mean valid"):
        listed(yolo(root), tmp_path)
    root = export(tmp_path / "d", THREE)
    (root / "valid" / "labels").rename(root / "valid" / "label")
    with pytest.raises(DataError, match=r"no label file for any of the 1 images of .*valid/images"):
        listed(yolo(root), tmp_path)
    root = export(tmp_path / "e", {"train/a": "", "train/b": "\n\n"})
    with pytest.raises(DataError, match=r"no image has a label; expected data\.yaml"):
        listed(yolo(root), tmp_path)


def test_the_key_is_named_before_anything_runs(tmp_path):
    root = export(tmp_path / "data", THREE)
    study = {
        "study": "boxes",
        "dataset": {"source": "yolo", "path": str(root), "resize": 24},
        "base": {"source": "random", "image_size": 24, "architecture": ARCHITECTURE},
        "experiments": {
            "boxes": {"method": "localize", "schedule": [{"train": "head", "epochs": 1}]}
        },
    }
    load_study(study)
    for path, expected in (
        (None, "dataset.path: missing; source yolo needs the folder or archive"),
        (str(root / "data.yaml"), "is one file of an export; name the folder it is in"),
        ("nowhere.zip", "dataset.path: no file 'nowhere.zip'"),
        ("https://example.org/a.zip", "dataset.sha256: missing"),
    ):
        with pytest.raises(ConfigError, match=re.escape(expected)):
            load_study(study | {"dataset": study["dataset"] | {"path": path}})


POLICIES = ("missing_classes", "small_splits", "imbalance", "duplicates_within")
POLICIES += ("duplicates_across", "group_leak", "label_mismatch", "small_range")
LABELS = THREE | {
    "train/two": f"{GOOD}\n0 0.5 0.5 0.9 0.9\n",
    "train/over": "0 0.02 0.5 0.1 0.5",
    "train/empty": "",
    "train/none": None,
    "train/bad": "9 0.5 0.5 0.2 0.2",
}


def test_the_split_report_counts_what_was_left_out(tmp_path):
    root = export(tmp_path / "data", LABELS)
    write(root / "train/labels/orphan.txt", GOOD)
    write(root / "train/labels/classes.txt", "A\n")
    write(root / "train/images/notes.pdf", "")
    write_image(root / "spare" / "e.png")
    dataset = yolo(root, skip_bad_images=True)
    report = prepare(dataset, tmp_path / "raw", tmp_path / "store")
    assert report["images"] == {"train": 4, "valid": 1, "test": 1}
    assert report["class_names"] == ["A", "no", "007"]
    assert [bad["file"] for bad in report["skipped"]] == ["train/images/bad.png"]
    assert report["annotations"] == {
        "boxes": 7, "beyond_largest": 1, "clipped": 1, "crowds": 0,
        "unlabelled": ["train/images/empty.png", "train/images/none.png"],
    }  # fmt: skip
    listing = listed(dataset, tmp_path)
    assert listing.ignored_files == 1
    assert listing.notes == [
        "label files without an image are left out (1): train/labels/orphan.txt",
        "images without a label are left out (2): train/images/empty.png, train/images/none.png",
        "images that belong to no split are left out (1): spare/e.png",
    ]
    index = Store(tmp_path / "store").index
    splits = {
        "mode": "official",
        "swap_train_test": False,
        "calibration": None,
        "test_fraction": 0.2,
    }
    splits |= {"fraction": 0.8, "stratify": True, "seed": 0, "imbalance_ratio": 10}
    splits["checks"] = dict.fromkeys(POLICIES, "warn")
    checked = check(index, assign(index, splits), splits, report)
    said = "7 boxes: 1 beyond the largest of their image, 1 clipped; images without a label: 2"
    assert said in checked["lines"]
    assert told(checked["annotations"] | {"crowds": 3}) == said.replace(
        "clipped;", "clipped, 3 around crowds besides;"
    )
    json.dumps(checked)
    table = checks_table(checked, report["skipped"]).set_index("check")
    assert table.loc["images_without_a_label", "found"] == 2
    assert (
        table.loc["boxes_beyond_the_largest", "found"] == table.loc["boxes_clipped", "found"] == 1
    )
    assert table.loc["boxes_around_crowds", "passed"]


def test_boxes_reach_the_model_as_they_were_written(tmp_path):
    random = np.random.default_rng(0)
    low, size = random.random((30, 2)) * 0.5, 0.1 + random.random((30, 2)) * 0.4
    boxes = np.concatenate([low, low + size], axis=1)
    labels = {
        f"train/{number:02d}": f"{number % 3} {x!s} {y!s} {w!s} {h!s}"
        for number, ((x, y), (w, h)) in enumerate(zip(low + size / 2, size))
    }
    root = export(tmp_path / "data", labels)
    prepare(yolo(root, resize=20, crop=20), tmp_path / "raw", tmp_path / "store")
    store = Store(tmp_path / "store")
    how = {"image_size": 20, "mean": [0.0] * 3, "std": [1.0] * 3}
    data = ImageSet(store, store.ids("train"), how, boxed=True)
    classes, targets = split_targets(data.targets(range(30)))
    written = [int(Path(file).stem) for file in store.index["file"]]
    assert classes.tolist() == [number % 3 for number in written]
    np.testing.assert_allclose(targets.numpy(), boxes[written], atol=1e-6)


def test_augmented_versions_of_a_photo_stay_together(tmp_path):
    names = [f"train/P{photo}_jpg.rf.{version}" for photo in range(3) for version in "abc"]
    items = listed(yolo(export(tmp_path, dict.fromkeys(names, GOOD))), tmp_path).items
    assert {item.group for item in items} == {f"train/P{photo}_jpg" for photo in range(3)}


def test_the_real_export(mirror, tmp_path):
    """American Sign Language Letters: what its publisher counts."""
    dataset = settings(source="yolo", path="asl_letters_yolo.tar")
    download(dataset, tmp_path, mirror)
    listing = list_items(dataset, tmp_path)
    counts = {
        split: sum(item.split == split for item in listing.items)
        for split in ("train", "valid", "test")
    }
    assert counts == {"train": 1512, "valid": 144, "test": 72}
    assert list(listing.class_names) == list("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert listing.annotations.record() == {
        "boxes": 1728, "beyond_largest": 0, "clipped": 0, "crowds": 0, "unlabelled": [],
    }  # fmt: skip
    assert (listing.faults, listing.notes, listing.empty_classes) == ([], [], [])
    assert len({item.group for item in listing.items if item.split == "train"}) == 504
    first = next(item for item in listing.items if Path(item.file).name.startswith("A22_jpg.rf"))
    label = tmp_path / "unpacked/asl_letters" / first.file.replace("images", "labels")
    number, x, y, width, height = map(float, label.with_suffix(".txt").read_text().split())
    assert number == first.label
    assert first.box == (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
