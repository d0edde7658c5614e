"""Sources list what they hold, in one order, with the right labels."""

import gzip
import hashlib
import inspect
import io
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import tarfile
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from torchvision import datasets

import frugalvit
from frugalvit.data.folders import list_folder, listing_digest
from frugalvit.data.prepare import prepare
from frugalvit.data.sources import all_sources, caltech256, fashion_mnist
from frugalvit.data.sources.all_sources import source_stamp
from frugalvit.data.sources.listing import download, list_items
from frugalvit.data.store import Store
from frugalvit.errors import ConfigError, DataError
from tests.imagefolders import noise, settings, write_folder, write_image

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def listed(dataset, raw=Path("nowhere")):
    return list_items(dataset, raw).items


def class_names(dataset, raw=Path("nowhere")):
    return list(list_items(dataset, raw).class_names)


def folder_settings(root, **changes):
    return settings(path=str(root), **changes)


def test_splits_may_have_their_other_names(tmp_path):
    for index, name in enumerate(["valid", "val", "validation", "Val"]):
        root = write_folder(tmp_path / str(index), {"train/a": 2, f"{name}/a": 1, "test/a": 1})
        assert [item.split for item in listed(folder_settings(root))] == [
            "train",
            "train",
            "valid",
            "test",
        ]
    write_folder(tmp_path / "0", {"val/a": 1})
    with pytest.raises(DataError, match="both 'val' and 'valid' mean valid"):
        listed(folder_settings(tmp_path / "0"))


def test_one_folder_of_classes_is_all_training(tmp_path):
    root = write_folder(tmp_path, {"rose": 2, "daisy": 1})
    items = listed(folder_settings(root))
    assert [(item.file, item.label, item.split) for item in items] == [
        ("daisy/image_00.png", 0, "train"),
        ("rose/image_00.png", 1, "train"),
        ("rose/image_01.png", 1, "train"),
    ]


def test_what_is_no_image_is_left_aside(tmp_path):
    root = write_folder(tmp_path, {"a": 1, "b": 1})
    write_image(root / "a" / "deeper" / "UPPER.PNG", 9)
    write_image(root / "a" / "Camera.JPeG", 9)
    for name in ("a/notes.txt", "a/.DS_Store", "a/Thumbs.db", "a/._image_00.png", "readme.md"):
        (root / name).touch()
    for name in (".git", "__MACOSX/a", "empty"):
        (root / name).mkdir(parents=True)
    write_image(root / "__MACOSX" / "a" / "ghost.png")
    listing = list_items(folder_settings(root), tmp_path)
    assert [item.file for item in listing.items] == [
        "a/Camera.JPeG",
        "a/deeper/UPPER.PNG",
        "a/image_00.png",
        "b/image_00.png",
    ]
    assert listing.ignored_files == 1
    assert listing.empty_classes == ["empty"]


def test_links_in_circles_end(tmp_path):
    root = write_folder(tmp_path / "data", {"a": 2})
    (root / "a" / "again").symlink_to(root / "a")
    (root / "b").symlink_to(write_folder(tmp_path / "elsewhere", {"b": 1}) / "b")
    assert len(list_folder(root).items) == 3


def test_a_name_that_is_not_utf8_and_a_broken_link(tmp_path):
    root = write_folder(tmp_path / "data", {"a": 1})
    (root / "a" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    before = listing_digest(root)
    with pytest.raises(DataError, match=r"a/gone.png: cannot be read: No such file"):
        prepare(folder_settings(root), tmp_path / "raw", tmp_path / "store")
    write_image(root / "a" / os.fsdecode(b"caf\xe9.png"))
    assert listing_digest(root) != before
    with pytest.raises(DataError, match="is not UTF-8; rename the file"):
        listed(folder_settings(root))


@pytest.mark.parametrize("make", ["nothing", "loose images", "no train"])
def test_a_folder_of_another_layout(tmp_path, make):
    root = tmp_path / "data"
    root.mkdir()
    if make == "loose images":
        write_image(root / "image.png")
    if make == "no train":
        write_folder(root, {"test/a": 1})
    with pytest.raises(DataError, match=r"no images found|none is named 'train'"):
        listed(folder_settings(root))


SPLIT_WORDS = {"train": 2, "valid": 2, "test": 2, "Val": 2, "bus": 2}


def test_classes_that_are_called_like_splits(tmp_path):
    root = write_folder(tmp_path / "data", SPLIT_WORDS)
    with pytest.raises(DataError, match=r"'Val' and 'valid' mean valid; .* dataset.layout: flat"):
        listed(folder_settings(root))
    listing = list_items(folder_settings(root, layout="flat"), tmp_path)
    assert list(listing.class_names) == sorted(SPLIT_WORDS)
    assert {item.split for item in listing.items} == {"train"}
    assert not listing.notes


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"train": 2, "bus": 2}, "the folder 'train' counts as the split train, but holds images"),
        ({"test": 2, "bus": 2}, "the folder 'test' counts as a split, but none is named 'train'"),
    ],
)
def test_a_class_that_is_called_like_a_split_names_the_clash_and_the_key(tmp_path, counts, message):
    root = write_folder(tmp_path / "data", counts)
    with pytest.raises(DataError, match=rf"{message}.* is a class, set dataset.layout: flat\b"):
        listed(folder_settings(root))
    assert class_names(folder_settings(root, layout="flat")) == sorted(counts)


def test_a_layout_of_splits_wants_a_training_folder(tmp_path):
    root = write_folder(tmp_path / "data", {"train/a": 2, "train/b": 2, "train": 1, "c": 1})
    assert class_names(folder_settings(root, layout="splits")) == ["a", "b"]
    flat = write_folder(tmp_path / "flat", {"a": 1, "b": 1})
    with pytest.raises(DataError, match="layout is splits, but no folder is named 'train'"):
        listed(folder_settings(flat, layout="splits"))


def test_classes_called_like_splits_in_an_archive(tmp_path):
    photos = write_folder(tmp_path / "photos" / "train", {"test": 2, "train": 2})
    archive = shutil.make_archive(str(tmp_path / "data"), "zip", photos.parent, "train")
    dataset = folder_settings(archive, source="archive", layout="flat")
    download(dataset, tmp_path / "raw")
    assert class_names(dataset, tmp_path / "raw") == ["test", "train"]


FORMATS_OF_SUFFIXES = {
    ".mpo": "MPO", ".apng": "PNG", ".j2k": "JPEG2000", ".jpf": "JPEG2000", ".jpx": "JPEG2000",
    ".j2c": "JPEG2000", ".jpc": "JPEG2000",
}  # fmt: skip


def test_less_usual_suffixes_are_listed_and_decoded(tmp_path):
    root = write_folder(tmp_path / "data", {"a": 1, "b": 1})
    for suffix, format in FORMATS_OF_SUFFIXES.items():
        with Image.open(root / "a" / "image_00.png") as image:
            image.save(root / "a" / f"other{suffix}", format)
    report = prepare(folder_settings(root), tmp_path / "raw", tmp_path / "store")
    assert report["images"]["train"] == 2 + len(FORMATS_OF_SUFFIXES)


def test_a_missing_folder_names_the_key(tmp_path):
    with pytest.raises(ConfigError, match=r"dataset.path: .*gone is no folder"):
        listed(folder_settings(tmp_path / "gone"))


def test_class_names_classes_and_limit(tmp_path):
    root = write_folder(tmp_path, {"train/001": 3, "train/002": 3, "train/010": 2, "test/001": 2})
    (root / "names.json").write_text(json.dumps({"1": "rose", "010": "iris", "99": "unused"}))
    listing = list_items(folder_settings(root, class_names="names.json"), tmp_path)
    assert listing.class_names == {"001": "rose", "002": "002", "010": "iris"}
    assert listing.unnamed_classes == ["002"]
    kept = listed(
        folder_settings(root, class_names="names.json", classes=["iris", "001"], limit_per_class=1)
    )
    assert [(item.file, item.label, item.class_name) for item in kept] == [
        ("train/001/image_00.png", 0, "rose"),
        ("train/010/image_00.png", 1, "iris"),
        ("test/001/image_00.png", 0, "rose"),
    ]


def test_yaml_class_names_and_names_outside_the_data(tmp_path):
    root = write_folder(tmp_path / "data", {"a": 1, "b": 1})
    (tmp_path / "names.yaml").write_text("a: ant\nb: bee\n")
    listing = list_items(
        folder_settings(root, class_names=str(tmp_path / "names.yaml")), tmp_path / "raw"
    )
    assert list(listing.class_names.values()) == ["ant", "bee"]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"classes": ["a", "tulip"]}, ConfigError, "dataset.classes: 'tulip' is no class"),
        ({"class_names": "none.json"}, ConfigError, "dataset.class_names: none.json is neither"),
        ({"class_names": "broken.json"}, DataError, "broken.json: neither JSON nor YAML"),
        ({"class_names": "list.json"}, DataError, "expected a mapping"),
        ({"class_names": "twice.json"}, DataError, "classes a, b are all named 'ant'"),
    ],
)
def test_wrong_class_settings(tmp_path, changes, error, message):
    root = write_folder(tmp_path, {"a": 1, "b": 1})
    (root / "broken.json").write_text("{")
    (root / "list.json").write_text("[]")
    (root / "twice.json").write_text('{"a": "ant", "b": "ant"}')
    with pytest.raises(error, match=message) as caught:
        listed(folder_settings(root, **changes))
    assert "\n" not in str(caught.value)


def test_unknown_digits(tmp_path):
    dataset = settings(source="digits", classes=["3", "eleven"])
    with pytest.raises(ConfigError, match=r"dataset.classes: 'eleven'"):
        list_items(dataset, tmp_path)


def test_digits_that_no_image_shows_are_no_classes(tmp_path):
    digits = settings()["digits"] | {"train": 4, "valid": 1, "test": 1}
    listing = list_items(settings(source="digits", digits=digits), tmp_path)
    assert len(listing.class_names) < 10
    assert set(listing.class_names) == {item.class_key for item in listing.items}
    assert [item.label for item in listing.items] == [
        list(listing.class_names).index(item.class_key) for item in listing.items
    ]


def test_a_users_folder_is_not_copied_but_watched(tmp_path):
    root = write_folder(tmp_path / "data", {"a": 2})
    dataset = folder_settings(root)
    marker = download(dataset, tmp_path / "raw")
    assert not (tmp_path / "raw").exists()
    assert marker["listing_sha256"] == listing_digest(root) == source_stamp(dataset)
    write_image(root / "a" / "new.png")
    assert source_stamp(dataset) != marker["listing_sha256"]
    assert source_stamp(settings(source="digits")) == ""


def pack(folder: Path, path: Path) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(folder.rglob("*")):
                archive.write(file, file.relative_to(folder.parent))
    else:
        with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as archive:
            archive.add(folder, folder.name)
    return path


@pytest.mark.parametrize("name", ["flowers.zip", "flowers.tar", "flowers.tgz"])
def test_an_archive_with_a_folder_of_its_own(tmp_path, name):
    root = write_folder(tmp_path / "in" / "flowers", {"train/a": 2, "val/a": 1, "test/b": 1})
    (root / "names.json").write_text('{"a": "ant", "b": "bee"}')
    archive = pack(root, tmp_path / name)
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    dataset = settings(
        source="archive", path=str(archive), sha256=sha256, class_names="flowers/names.json"
    )
    for _ in range(2):
        marker = download(dataset, tmp_path / "raw")
        assert marker["files"] == [{"file": name, "sha256": sha256}]
        items = listed(dataset, tmp_path / "raw")
        assert [item.class_name for item in items] == ["ant", "ant", "ant", "bee"]
        assert [item.split for item in items] == ["train", "train", "valid", "test"]


def test_an_archive_of_bare_classes(tmp_path):
    root = write_folder(tmp_path / "in", {"only": 2})
    dataset = settings(source="archive", path=str(pack(root / "only", tmp_path / "one.zip")))
    download(dataset, tmp_path / "raw")
    assert [item.class_name for item in listed(dataset, tmp_path / "raw")] == ["only", "only"]


def test_an_archive_that_is_wrong_or_missing(tmp_path):
    archive = pack(write_folder(tmp_path / "in", {"a": 1}), tmp_path / "a.tar")
    with pytest.raises(DataError, match="expected " + "0" * 64):
        download(settings(source="archive", path=str(archive), sha256="0" * 64), tmp_path / "raw")
    with pytest.raises(ConfigError, match=r"dataset.path: no file .*gone.tar; no mirror is set"):
        download(settings(source="archive", path="gone.tar"), tmp_path / "raw")
    with pytest.raises(ConfigError, match=r"dataset.sha256: required"):
        download(settings(source="archive", path="https://127.0.0.1/a.tar"), tmp_path / "raw")
    marker = download(settings(source="archive", path="x/a.tar"), tmp_path / "raw", tmp_path)
    assert marker["files"][0]["file"] == "a.tar"


@pytest.fixture
def publisher(tmp_path):
    """A folder served on the loopback, and the requests it got."""
    folder = tmp_path / "published"
    folder.mkdir()
    paths = []

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            super().do_GET()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}/", paths
    server.shutdown()
    server.server_close()
    thread.join()


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def add_bytes(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def publish_flowers(folder: Path, monkeypatch, url: str) -> None:
    with tarfile.open(folder / "102flowers.tgz", "w:gz") as archive:
        for number in range(1, 8):
            buffer = io.BytesIO()
            Image.fromarray(noise(number)).save(buffer, "JPEG")
            add_bytes(archive, f"jpg/image_{number:05d}.jpg", buffer.getvalue())
    savemat(folder / "imagelabels.mat", {"labels": np.array([[3, 1, 102, 1, 3, 3, 2]])})
    splits = {"trnid": [[2, 1]], "valid": [[4, 7]], "tstid": [[6, 5, 3]]}
    savemat(folder / "setid.mat", {key: np.array(value) for key, value in splits.items()})
    names = {"image": "102flowers.tgz", "label": "imagelabels.mat", "setid": "setid.mat"}
    files = {key: (name, md5(folder / name)) for key, name in names.items()}
    monkeypatch.setattr(datasets.Flowers102, "_download_url_prefix", url)
    monkeypatch.setattr(datasets.Flowers102, "_file_dict", files)


def publish_cifar(folder: Path, monkeypatch, url: str) -> None:
    def batch(seed: int) -> bytes:
        pixels = noise(seed, 1, 1024 * 2).reshape(2, 3072)
        return pickle.dumps({"data": pixels, "labels": [seed % 10, 9]})

    contents = {f"data_batch_{n}": batch(n) for n in range(1, 6)} | {"test_batch": batch(6)}
    contents["batches.meta"] = pickle.dumps({"label_names": CLASSES})
    with tarfile.open(folder / "cifar-10-python.tar.gz", "w:gz") as archive:
        for name, content in contents.items():
            add_bytes(archive, f"cifar-10-batches-py/{name}", content)
    sums = {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}
    cifar = datasets.CIFAR10
    monkeypatch.setattr(cifar, "url", url + "cifar-10-python.tar.gz")
    monkeypatch.setattr(cifar, "tgz_md5", md5(folder / "cifar-10-python.tar.gz"))
    train = [[name, sums[name]] for name in sums if name.startswith("data")]
    monkeypatch.setattr(cifar, "train_list", train)
    monkeypatch.setattr(cifar, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(cifar, "meta", cifar.meta | {"md5": sums["batches.meta"]})


def publish_fashion(folder: Path, monkeypatch, url: str) -> None:
    resources = []
    for part, count in (("train", 4), ("t10k", 2)):
        images = noise(count, 28, 28 * count)[..., 0].tobytes()
        header = struct.pack(">IIII", 0x803, count, 28, 28)
        labels = struct.pack(">II", 0x801, count) + bytes(range(count))
        for kind, content in (("images-idx3", header + images), ("labels-idx1", labels)):
            name = f"{part}-{kind}-ubyte.gz"
            (folder / name).write_bytes(gzip.compress(content))
            resources.append((name, md5(folder / name)))
    monkeypatch.setattr(datasets.FashionMNIST, "mirrors", [url + "gone/", url])
    monkeypatch.setattr(datasets.FashionMNIST, "resources", resources)
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", folder / "no package")


def publish_caltech(folder: Path, monkeypatch, url: str) -> None:
    """Only for the mirror: torchvision writes the address and the checksum into a function."""
    inner = folder.parent / "256_ObjectCategories"
    for place in ("001.ak47/001_0001", "001.ak47/001_0003", "257.clutter/257_0001"):
        write_image(inner / f"{place}.jpg", 1)
    (inner / "001.ak47" / "RENAME2").touch()
    pack(inner, folder / "256_ObjectCategories.tar")
    checksum = md5(folder / "256_ObjectCategories.tar")
    monkeypatch.setattr(caltech256, "CALTECH256_MD5", checksum)
    monkeypatch.setattr(
        "torchvision.datasets.caltech.download_and_extract_archive",
        partial(checked_extraction, checksum),
    )


def checked_extraction(checksum, url, root, filename, md5):
    """torchvision's function with the tiny archive's checksum in place of the real one's."""
    from torchvision.datasets.utils import download_and_extract_archive

    download_and_extract_archive("http://127.0.0.1:9/", root, filename=filename, md5=checksum)


PUBLISHED = {
    "flowers102": (publish_flowers, {"train": 2, "valid": 2, "test": 3}),
    "cifar10": (publish_cifar, {"train": 10, "valid": 0, "test": 2}),
    "fashion_mnist": (publish_fashion, {"train": 4, "valid": 0, "test": 2}),
    "caltech256": (publish_caltech, {"train": 3, "valid": 0, "test": 0}),
}


@pytest.mark.parametrize("source", PUBLISHED)
@pytest.mark.parametrize("place", ["network", "mirror"])
def test_published_datasets(tmp_path, monkeypatch, publisher, source, place):
    folder, url, requests = publisher
    publish, counts = PUBLISHED[source]
    publish(folder, monkeypatch, url)
    if source == "caltech256" and place == "network":
        name = "256_ObjectCategories.tar"
        monkeypatch.setattr(caltech256, "CALTECH256_URL", url + name)
    dataset = settings(name=source, source=source)
    mirror = folder if place == "mirror" else None
    marker = download(dataset, tmp_path / "raw", mirror)
    assert all(entry["sha256"] for entry in marker["files"])
    assert bool(requests) == (place == "network")
    report = prepare(dataset, tmp_path / "raw", tmp_path / "store")
    assert report["images"] == counts
    requests.clear()
    download(dataset, tmp_path / "raw", None)
    assert requests == [], "what is there and whole is not fetched again"


def test_flowers_keep_their_official_splits_and_labels(tmp_path, monkeypatch, publisher):
    folder, url, _ = publisher
    publish_flowers(folder, monkeypatch, url)
    dataset = settings(name="flowers102", source="flowers102")
    download(dataset, tmp_path / "raw")
    found = {
        (item.split, Path(item.file).name, item.label, item.class_name)
        for item in listed(dataset, tmp_path / "raw")
    }
    assert found == {
        ("train", "image_00001.jpg", 2, "canterbury bells"),
        ("train", "image_00002.jpg", 0, "pink primrose"),
        ("valid", "image_00004.jpg", 0, "pink primrose"),
        ("valid", "image_00007.jpg", 1, "hard-leaved pocket orchid"),
        ("test", "image_00003.jpg", 101, "blackberry lily"),
        ("test", "image_00005.jpg", 2, "canterbury bells"),
        ("test", "image_00006.jpg", 2, "canterbury bells"),
    }


def test_arrays_keep_pixels_and_labels(tmp_path, monkeypatch, publisher):
    folder, url, _ = publisher
    publish_cifar(folder, monkeypatch, url)
    dataset = settings(name="cifar10", source="cifar10", resize=32, crop=32)
    download(dataset, tmp_path / "raw")
    prepare(dataset, tmp_path / "raw", tmp_path / "store")
    store = Store(tmp_path / "store")
    original = datasets.CIFAR10(str(tmp_path / "raw"), train=False)
    for image in store.index[store.index["split"] == "test"].itertuples():
        position = int(image.file.split("/")[1])
        assert (store.images("test")[image.row] == original.data[position]).all()
        assert image.class_name == CLASSES[original.targets[position]]


def test_a_half_unpacked_dataset_is_unpacked_again(tmp_path, monkeypatch, publisher):
    folder, url, _ = publisher
    publish_flowers(folder, monkeypatch, url)
    dataset = settings(name="flowers102", source="flowers102")
    download(dataset, tmp_path / "raw")
    (tmp_path / "raw" / "flowers-102" / "jpg" / "image_00003.jpg").unlink()
    download(dataset, tmp_path / "raw")
    prepare(dataset, tmp_path / "raw", tmp_path / "store")


def test_a_publishers_file_that_changed(tmp_path, monkeypatch, publisher):
    folder, url, _ = publisher
    publish_flowers(folder, monkeypatch, url)
    (folder / "setid.mat").write_bytes(b"something else")
    with pytest.raises(DataError, match=r"setid\.mat .*its md5 is"):
        download(settings(name="flowers102", source="flowers102"), tmp_path / "raw")


def test_caltech_constants_are_torchvisions():
    source = inspect.getsource(datasets.Caltech256.download)
    assert caltech256.CALTECH256_URL in source
    assert caltech256.CALTECH256_MD5 in source


def fake_package(folder: Path, monkeypatch, truthful: bool = True) -> None:
    sums = {}
    for name, count in (("train", 3), ("t10k", 2)):
        header = struct.pack(">IIII", 0x803, count, 28, 28)
        files = {"images-idx3": header + bytes(784 * count)}
        files["labels-idx1"] = struct.pack(">II", 0x801, count) + bytes(count)
        for kind, content in files.items():
            path = folder / f"{name}-{kind}-ubyte.gz"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(gzip.compress(content, 1))
            sums[path.stem] = hashlib.sha256(content if truthful else b"").hexdigest()
    monkeypatch.setattr(fashion_mnist, "CONTENT_SHA256", sums)
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", folder)


def test_the_debian_package_comes_before_the_network(tmp_path, monkeypatch):
    fake_package(tmp_path / "package", monkeypatch)
    dataset = settings(name="fashion_mnist", source="fashion_mnist")
    download(dataset, tmp_path / "raw")
    assert len(listed(dataset, tmp_path / "raw")) == 5


def test_a_package_of_other_content_is_not_used(tmp_path, monkeypatch):
    fake_package(tmp_path / "package", monkeypatch, truthful=False)
    assert not fashion_mnist.copy_from_package(tmp_path / "raw")


def test_the_real_debian_package(tmp_path):
    if not fashion_mnist.DEBIAN_FOLDER.is_dir():
        pytest.skip("the Debian package dataset-fashion-mnist is not installed")
    dataset = settings(name="fashion_mnist", source="fashion_mnist", limit_per_class=10)
    download(dataset, tmp_path / "raw")
    items = listed(dataset, tmp_path / "raw")
    assert len(items) == 200
    assert items[0].class_name == "T-shirt/top"


def test_an_archive_by_its_address(tmp_path, publisher):
    folder, url, requests = publisher
    archive = pack(
        write_folder(tmp_path / "in" / "set", {"train/a": 1, "test/a": 1}), folder / "set 1.tar"
    )
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    dataset = settings(source="archive", path=url + "set%201.tar?download=1", sha256=sha256)
    for _ in range(2):
        assert download(dataset, tmp_path / "raw")["files"][0]["file"] == "set 1.tar"
        assert len(listed(dataset, tmp_path / "raw")) == 2
    assert len(requests) == 1


def test_the_configuration_asks_every_source_without_heavy_packages():
    """Snakemake imports them before each run and in each of its jobs."""
    code = (
        "import sys; from frugalvit.data.sources.all_sources import SOURCES, source; "
        "[source(name) for name in SOURCES]; "
        "sys.exit(bool({'torch', 'torchvision', 'sklearn', 'pandas', 'PIL'} & set(sys.modules)))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(frugalvit.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_every_file_of_a_source_is_in_the_registry():
    folder = Path(all_sources.__file__).parent
    written = {path.stem for path in folder.glob("*.py") if "\nSOURCE = " in path.read_text()}
    assert written == set(all_sources.SOURCES)
