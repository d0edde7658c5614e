"""The store holds every image once, in a known order, and nothing half-written."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import frugalvit
from frugalvit.data.prepare import prepare
from frugalvit.data.sources.listing import download
from frugalvit.data.splits import require_classes
from frugalvit.data.store import COLUMNS, Store
from frugalvit.errors import DataError
from tests.imagefolders import settings, write_folder, write_image


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


FILES = ["index.csv", "report.json", "test.npy", "train.npy", "valid.npy"]


def test_rows_and_pixels_belong_together(tmp_path):
    root = write_folder(tmp_path / "in", {"train/b": 2, "train/a": 3, "test/a": 1})
    dataset = settings(path=str(root), resize=20, crop=20)
    prepare(dataset, tmp_path / "raw", tmp_path / "store")
    store = Store(tmp_path / "store")
    assert names(tmp_path / "store") == FILES
    assert list(store.index.columns) == [*COLUMNS, "row"]
    assert store.index["id"].tolist() == [*(f"train-{i:06d}" for i in range(5)), "test-000000"]
    assert store.index["label"].tolist() == [0, 0, 0, 1, 1, 0]
    assert (store.image_size, store.class_names) == (20, ["a", "b"])
    for image in store.index.itertuples():
        path = root / image.file
        with Image.open(path) as original:
            expected = np.asarray(original)[:, 2:22]
        assert (store.images(image.split)[image.row] == expected).all()
        assert image.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_split_without_images_is_an_empty_array(tmp_path):
    root = write_folder(tmp_path / "in", {"a": 2})
    prepare(settings(path=str(root)), tmp_path / "raw", tmp_path / "store")
    assert Store(tmp_path / "store").images("valid").shape == (0, 16, 16, 3)


def test_workers_change_nothing(tmp_path):
    root = write_folder(tmp_path / "in", {"train/a": 40, "train/b": 40, "test/b": 5})
    write_image(root / "train" / "a" / "large.jpg", 7, height=200, width=300)
    dataset = settings(path=str(root))
    for workers in (1, 2):
        prepare(dataset, tmp_path / "raw", tmp_path / f"store{workers}", workers=workers)
    for name in FILES:
        one, two = ((tmp_path / f"store{n}" / name).read_bytes() for n in (1, 2))
        assert one == two, name


def break_images(root: Path, count: int) -> None:
    for number in range(count):
        (root / "train" / "a" / f"broken_{number:02d}.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut")
    (root / "test" / "a" / "empty.png").touch()


def test_bad_images_are_named_all_at_once(tmp_path):
    root = write_folder(tmp_path / "in", {"train/a": 3, "test/a": 1})
    break_images(root, 14)
    with pytest.raises(DataError) as caught:
        prepare(settings(path=str(root)), tmp_path / "raw", tmp_path / "store")
    message = str(caught.value)
    assert message.startswith("15 of 19 images cannot be decoded (train/a/broken_00.jpg: ")
    assert message.count("broken_") == 10
    assert "and 5 more" in message
    assert "dataset.skip_bad_images: true" in message
    assert "\n" not in message
    assert names(tmp_path / "store") == []


def test_bad_images_can_be_left_out_and_are_counted(tmp_path):
    root = write_folder(tmp_path / "in", {"train/a": 3, "train/b": 2, "test/a": 1})
    break_images(root, 2)
    dataset = settings(path=str(root), skip_bad_images=True)
    report = prepare(dataset, tmp_path / "raw", tmp_path / "store")
    assert json.loads((tmp_path / "store" / "report.json").read_text()) == report
    assert report["images"] == {"train": 5, "valid": 0, "test": 1}
    assert {"file": "test/a/empty.png", "error": "empty file"} in report["skipped"]
    assert len(report["skipped"]) == 3
    store = Store(tmp_path / "store")
    clean = write_folder(tmp_path / "clean", {"train/a": 3, "train/b": 2, "test/a": 1})
    prepare(settings(path=str(clean)), tmp_path / "raw", tmp_path / "expected")
    expected = Store(tmp_path / "expected")
    assert store.index.equals(expected.index)
    for split in ("train", "valid", "test"):
        assert np.array_equal(store.images(split), expected.images(split))
    assert names(tmp_path / "store") == FILES


def test_nothing_but_bad_images(tmp_path):
    root = tmp_path / "in"
    (root / "train" / "a").mkdir(parents=True)
    (root / "test" / "a").mkdir(parents=True)
    break_images(root, 1)
    dataset = settings(path=str(root), skip_bad_images=True)
    with pytest.raises(DataError, match="none is left"):
        prepare(dataset, tmp_path / "raw", tmp_path / "store")


def test_a_failed_preparation_leaves_the_old_store(tmp_path):
    root = write_folder(tmp_path / "in", {"train/a": 3, "test/a": 1})
    prepare(settings(path=str(root)), tmp_path / "raw", tmp_path / "store")
    before = {name: (tmp_path / "store" / name).read_bytes() for name in FILES}
    break_images(root, 1)
    with pytest.raises(DataError):
        prepare(settings(path=str(root)), tmp_path / "raw", tmp_path / "store")
    assert {name: (tmp_path / "store" / name).read_bytes() for name in FILES} == before
    assert names(tmp_path / "store") == FILES


def test_a_store_travels_to_another_process(tmp_path):
    root = write_folder(tmp_path / "in", {"train/a": 4})
    prepare(settings(path=str(root)), tmp_path / "raw", tmp_path / "store")
    store = Store(tmp_path / "store")
    first = store.images("train")[0].copy()
    assert isinstance(store.images("train"), np.memmap)
    packed = pickle.dumps(store)
    assert len(packed) < 1000
    again = pickle.loads(packed)
    assert (again.images("train")[0] == first).all()
    with pytest.raises(ValueError, match="read-only"):
        again.images("train")[0] = 0


def test_names_that_look_like_something_else_stay_text(tmp_path):
    root = write_folder(tmp_path / "in", {"train/001": 1, "train/NA": 1, "train/1e3": 1})
    prepare(settings(path=str(root)), tmp_path / "raw", tmp_path / "store")
    assert Store(tmp_path / "store").class_names == ["001", "1e3", "NA"]


def test_a_missing_or_foreign_file_is_a_plain_error(tmp_path):
    with pytest.raises(DataError, match=r"index.csv is missing"):
        Store(tmp_path)
    for name in FILES:
        (tmp_path / name).write_text("x")
    with pytest.raises(DataError, match=r"report\.json: not readable JSON .*; delete it"):
        Store(tmp_path).images("train")
    (tmp_path / "report.json").unlink()
    with pytest.raises(DataError, match="not a store's array"):
        Store(tmp_path).images("train")


def test_digits_keep_their_boxes_groups_and_classes(tmp_path):
    dataset = settings(name="digits", source="digits", resize=24, crop=24, classes=["3", "8"])
    assert download(dataset, tmp_path / "raw") == {"source": "digits", "files": []}
    report = prepare(dataset, tmp_path / "raw", tmp_path / "store", workers=2)
    assert report["images"] == {"train": 30, "valid": 10, "test": 20}
    store = Store(tmp_path / "store")
    assert store.class_names == ["3", "8"]
    assert set(store.index["label"]) == {0, 1}
    assert store.index["group"].str.match(r"scan_\d{4}").all()
    scans = store.index.groupby("split")["group"].agg(set)
    assert not scans["train"] & scans["test"]
    for image in store.index.itertuples():
        x0, y0, x1, y1 = (float(edge) * 24 for edge in image.box.split())
        assert 0 <= x0 < x1 <= 24
        pixels = store.images(image.split)[image.row]
        inside = pixels[round(y0) : round(y1), round(x0) : round(x1)]
        assert inside.max() == pixels.max()
        assert image.sha256 == hashlib.sha256(pixels.tobytes()).hexdigest()


def test_decoding_needs_neither_torch_nor_pandas():
    """Every worker process imports this; torch would cost each of them seconds and 300 MB."""
    code = (
        "import sys, frugalvit.data.arrays; "
        "sys.exit(bool({'torch', 'pandas', 'sklearn'} & set(sys.modules)))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(frugalvit.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_the_flowers_archive(mirror, tmp_path):
    archive = mirror / "flowers102_256px.tar"
    if not archive.is_file():
        pytest.skip("the mirror has no flowers102_256px.tar")
    dataset = settings(
        name="flowers",
        source="archive",
        path="flowers102_256px.tar",
        class_names="cat_to_name.json",
        limit_per_class=2,
        resize=64,
        crop=56,
    )
    marker = download(dataset, tmp_path / "raw", mirror)
    assert marker["files"][0]["file"] == "flowers102_256px.tar"
    report = prepare(dataset, tmp_path / "raw", tmp_path / "store")
    assert report["images"] == {"train": 204, "valid": 204, "test": 204}
    assert report["unnamed_classes"] == []
    store = Store(tmp_path / "store")
    assert len(store.class_names) == 102
    assert store.class_names[0] == "pink primrose"
    assert store.images("test").shape == (204, 56, 56, 3)
    assert store.images("test").std() > 30


def test_a_class_without_a_readable_image_is_named_and_not_left_as_a_gap(tmp_path):
    photos = write_folder(tmp_path / "photos", {"a": 3, "b": 1, "c": 3})
    (photos / "b" / "image_00.png").write_bytes(b"no image")
    dataset = settings(path=str(photos), skip_bad_images=True)
    with pytest.raises(DataError, match="no image of class b can be decoded"):
        prepare(dataset, tmp_path / "raw", tmp_path / "store")


def test_a_folder_one_level_too_high_is_told(tmp_path):
    photos = write_folder(tmp_path / "photos" / "Images", {"a": 3, "b": 3}).parent
    prepare(settings(path=str(photos)), tmp_path / "raw", tmp_path / "store")
    with pytest.raises(DataError, match=r"fewer than two classes \(Images\)"):
        require_classes(Store(tmp_path / "store").index)
