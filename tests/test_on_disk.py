"""What lies on disk is not believed: damaged and edited files are refused by name, dates or not."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from frugalvit.checksums import note, noted
from frugalvit.data.assignments import read_assignments
from frugalvit.data.batches import ImageSet, batches
from frugalvit.data.feature_files import read_features
from frugalvit.data.store import Store, read_index
from frugalvit.devices.fabric import make_fabric
from frugalvit.errors import DataError, FrugalError, WeightsError
from frugalvit.files import read_csv, read_json, write_json
from frugalvit.methods.trained import load_run
from frugalvit.models.base import build_from_base, load_base
from frugalvit.training.features import extract_to_file, image_sets
from tests.damage import edit, flip
from tests.workflows import TINY, results_of, snakemake

OLD = "its bytes are not those that were written"


@pytest.fixture
def mine(study, tmp_path):
    """A copy of the tiny study whose features have a card, as the job gives them."""
    shutil.copytree(study, tmp_path / "mine")
    for folder in (tmp_path / "mine" / "features").iterdir():
        write_json(folder / "card.json", note(*folder.glob("*.npy")))
    return tmp_path / "mine"


def told(error, path, words):
    """One line that names the file and what to do."""
    text = str(error.value)
    assert text.startswith(f"{path}: "), text
    assert words in text
    assert "again" in text
    assert "\n" not in text


def images_of(study, split="train"):
    store = Store(study / "store")
    return ImageSet(store, store.ids(split), load_base(study / "base")[1]["preprocessing"])


def test_a_flipped_bit_in_the_store_is_told_before_a_batch_is_made_of_it(mine):
    path = mine / "store" / "valid.npy"
    flip(path)
    for read in (
        lambda: batches(images_of(mine, "valid"), 8),
        lambda: images_of(mine, "valid").raw([0]),
        lambda: Store(mine / "store").images("valid"),
    ):
        with pytest.raises(DataError) as error:
            read()
        told(error, path, OLD)
    assert len(Store(mine / "store").images("train")) == 96, "what is whole is read"


def test_each_file_is_read_once_for_its_checksum(mine, monkeypatch):
    read = []
    monkeypatch.setattr(
        "frugalvit.checksums.sha256_file", lambda path: read.append(path) or noted(path)[0]
    )
    images = images_of(mine)
    for _ in range(3):
        batches(images, 8)
        images.raw([0, 1])
        read_features(mine / "features" / "plain", images, [1])
    expected = ["store/index.csv", "store/train.npy", "features/plain/train.npy"]
    assert read == [mine / name for name in expected]


def test_an_index_that_was_edited(mine):
    path = mine / "store" / "index.csv"
    edit(path, ",train,0,", ",train,1,")
    with pytest.raises(DataError) as error:
        _ = Store(mine / "store").index
    told(error, path, OLD)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (",train,", ",trxin,", "'trxin' is no split (train, valid, test)"),
        ("train-000001,", "train-000000,", "the id train-000000 stands twice"),
        ("label", "lxbel", "column label is missing"),
        (",train,0,", ",train,0.5,", "a label is no number"),
        ("id,", '"', "not a readable CSV"),
    ],
)
def test_an_index_without_a_checksum_is_looked_at_all_the_same(mine, old, new, words):
    (mine / "store" / "report.json").unlink()
    edit(mine / "store" / "index.csv", old, new)
    with pytest.raises(DataError) as error:
        _ = Store(mine / "store").index
    told(error, mine / "store" / "index.csv", words)


def test_more_images_in_the_index_than_in_the_array(mine):
    (mine / "store" / "report.json").unlink()
    edit(mine / "store" / "index.csv", ",test,", ",valid,")
    with pytest.raises(DataError, match=r"valid\.npy: 48 images, but 49 in index\.csv"):
        Store(mine / "store").images("valid")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (",train,", ",trxin,", "'trxin' is no split (train, valid, calibration, test, unused)"),
        ("train-000001,", "train-000000,", "the id train-000000 stands twice"),
        ("train-000001,", "train-000900,", "its ids are not those of"),
        ("train,0,", "train,7,", "the label of train-"),
    ],
)
def test_assignments_that_do_not_belong_to_the_store(mine, old, new, words):
    path, store = mine / "assignments.csv", Store(mine / "store")
    assert len(read_assignments(path, store)) == 176
    edit(path, old, new)
    with pytest.raises(DataError) as error:
        read_assignments(path, store)
    told(error, path, words)


def test_a_moved_assignment_is_known_by_its_checksum(mine):
    path = mine / "assignments.csv"
    write_json(mine / "report.json", note(path))
    edit(path, ",valid,", ",test,")
    with pytest.raises(DataError) as error:
        read_assignments(path, Store(mine / "store"))
    told(error, path, OLD)


def test_features_of_other_bytes(mine):
    path = mine / "features" / "plain" / "train.npy"
    flip(path)
    with pytest.raises(DataError) as error:
        read_features(path.parent, images_of(mine), [1])
    told(error, path, OLD)


def test_features_that_are_not_finite(mine):
    path = mine / "features" / "plain" / "train.npy"
    (path.parent / "card.json").unlink()
    features = np.load(path)
    features[5, 0, 1, 0, 3] = np.nan
    np.save(path, features)
    with pytest.raises(DataError) as error:
        read_features(path.parent, images_of(mine), [2])
    told(error, path, "not finite")
    assert read_features(path.parent, images_of(mine), [1]).isfinite().all()


@pytest.mark.parametrize(
    "content",
    [b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00\xff\xff{", b"PK\x03\x04", b"text " * 50,
     b"\x93NUMPY\x01\x00\x3c\x00{'descr': '<f4', 'fortran_order': False, 'shape': (-9,), }    \n",
     b"\x93NUMPY\x01\x00\x3c\x00{'descr': '|O', 'fortran_order': False, 'shape': (10**9,)}   \n"],
)  # fmt: skip
def test_broken_arrays_are_one_line(mine, content):
    path = mine / "features" / "plain" / "train.npy"
    (path.parent / "card.json").unlink()
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        read_features(path.parent, images_of(mine), [1])
    told(error, path, "not an array of features")
    (mine / "store" / "report.json").unlink()
    path = mine / "store" / "train.npy"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        Store(mine / "store").images("train")
    told(error, path, "not a store's array")


def test_features_of_fewer_images(mine):
    path = mine / "features" / "plain" / "train.npy"
    (path.parent / "card.json").unlink()
    np.save(path, np.load(path)[:-1])
    with pytest.raises(DataError) as error:
        read_features(path.parent, images_of(mine), [1])
    told(error, path, "of fewer images or blocks")


def test_a_base_that_gives_nan_leaves_no_features(mine):
    preprocessing = load_base(mine / "base")[1]["preprocessing"] | {"std": [1e-45] * 3}
    store, model = Store(mine / "store"), build_from_base(mine / "base", 0)
    sets = image_sets(store, store.ids("test"), preprocessing, 0, {}, seed=0)
    path = mine / "new" / "test.npy"
    with pytest.raises(
        WeightsError, match=r"features of image test-000000 are not finite; .* base\.std"
    ):
        extract_to_file(make_fabric(0, 1), model, sets, path, 8)
    assert list(path.parent.iterdir()) == []


def test_weights_that_are_not_finite_are_no_weights(mine):
    path = mine / "base" / "weights.safetensors"
    card = json.loads((mine / "base" / "card.json").read_text())
    del card["weights_sha256"]
    write_json(mine / "base" / "card.json", card)
    state = load_file(path)
    state["encoder.ln.weight"][0] = torch.inf
    save_file(state, path)
    with pytest.raises(WeightsError, match=r"encoder\.ln\.weight holds values .* delete the file"):
        build_from_base(mine / "base", 2)


@pytest.mark.parametrize("content", ["", "{", "\udcff", "[" * 100_000, '{"a": 1} x'])
def test_json_that_is_none(tmp_path, content):
    path = tmp_path / "card.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(DataError) as error:
        read_json(path)
    told(error, path, "not readable JSON")


def test_what_is_missing_says_how_to_make_it(tmp_path):
    for read in (read_json, read_csv, read_index):
        with pytest.raises(FrugalError, match=r"x: no such file; make it with `snakemake .*/x`"):
            read(tmp_path / "x")


@pytest.mark.workflow
def test_a_finished_study_notes_what_it_wrote_and_refuses_what_was_changed_since(copied):
    """With their dates kept: nothing but the bytes tells. The named file, deleted, is made again."""
    results, data = results_of(copied), copied / "data"
    files = [
        *results.glob("runs/*/weights.safetensors"), *results.glob("base/*.safetensors"),
        *results.glob("features/*/*.npy"), *results.glob("splits*/assignments.csv"),
        *data.glob("*/store/*.npy"), *data.glob("*/store/index.csv"),
    ]  # fmt: skip
    assert len(files) > 12
    assert {path.name for path in files if noted(path) is None} == set()
    metrics = next(results.glob("runs/*/metrics.json"))
    run = metrics.with_name("weights.safetensors")
    flip(run)
    with pytest.raises(WeightsError, match=OLD):
        load_run(run.parent)
    metrics.unlink()
    arguments = (*TINY, "--resources", "gpu=0", "--", str(metrics.relative_to(copied)))
    done = snakemake(copied, *arguments)
    assert done.returncode != 0
    assert f"{run.relative_to(copied)}: {OLD}" in done.stderr
    assert "Traceback" not in done.stderr
    run.unlink()
    done = snakemake(copied, *arguments)
    assert done.returncode == 0, done.stderr[-2000:]
    load_run(run.parent)
