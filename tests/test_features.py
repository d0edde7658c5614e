"""Cached features: of every image in plain view, and of the images that train under augmented ones."""

import numpy as np
import pytest
import torch

from frugalvit.config.study import load_study
from frugalvit.data.batches import ImageSet
from frugalvit.data.feature_files import read_features, rows_that_train
from frugalvit.data.store import Store
from frugalvit.devices.fabric import make_fabric
from frugalvit.errors import DataError
from frugalvit.jobs import progress
from frugalvit.jobs.progress import Progress
from frugalvit.models.base import build_from_base, load_base
from frugalvit.training.features import extract_to_file, image_sets
from tests.small_study import make_study

AUGMENT = {"shift": 3, "horizontal_flip": 0.5}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("study"))


def extract(study, split, path, rows=None, shown=None):
    store, preprocessing = Store(study / "store"), load_base(study / "base")[1]["preprocessing"]
    sets = image_sets(store, store.ids(split), preprocessing, 2, AUGMENT, seed=0)
    model = build_from_base(study / "base", 0)
    extract_to_file(make_fabric(0, 1), model, sets, path, 16, rows, shown)
    return np.load(path)


def assignments(study, path, train):
    index = Store(study / "store").index
    split = index["split"].where(~index["id"].isin(train), "train")
    split = split.where((index["split"] != "train") | index["id"].isin(train), "valid")
    index.assign(source_split=index["split"], split=split).to_csv(path, index=False)
    return path


def test_images_train_that_any_division_of_the_study_trains_on(study, tmp_path):
    ids = Store(study / "store").ids("train")
    one = assignments(study, tmp_path / "one.csv", ids[10:20])
    other = assignments(study, tmp_path / "other.csv", [ids[3], *ids[15:30], "test-000002"])
    store = Store(study / "store")
    assert rows_that_train(store, "train", [one]).tolist() == [*range(10, 20)]
    assert rows_that_train(store, "train", [one, other]).tolist() == [3, *range(10, 30)]
    assert rows_that_train(store, "test", [one]).tolist() == []
    assert rows_that_train(store, "test", [one, other]).tolist() == [2], "splits that are swapped"


def test_what_trains_has_the_views_that_it_had_among_all_images(study, tmp_path):
    rows = np.array([2, 3, 40, 77, 95])
    whole = extract(study, "train", tmp_path / "whole" / "train.npy")
    some = extract(study, "train", tmp_path / "some" / "train.npy", rows)
    assert some.shape == whole.shape
    np.testing.assert_allclose(some[rows], whole[rows], atol=1e-5)
    assert np.abs(whole[rows]).max() > 0.1
    assert not np.delete(some, rows, axis=0).any()
    empty = extract(study, "test", tmp_path / "some" / "test.npy", np.array([], dtype=int))
    assert empty.shape == (0, 2, 3, 2, 16)


def test_features_that_were_never_computed_are_not_read(study, tmp_path):
    rows = np.array([2, 3, 40])
    extract(study, "train", tmp_path / "train.npy", rows)
    store, preprocessing = Store(study / "store"), load_base(study / "base")[1]["preprocessing"]
    ids = np.array(store.ids("train"))
    read = read_features(tmp_path, ImageSet(store, ids[rows], preprocessing), [1, 3])
    assert torch.isfinite(read).all()
    with pytest.raises(DataError, match=r"train\.npy: no features of some images .* delete the"):
        read_features(tmp_path, ImageSet(store, ids[[2, 4]], preprocessing), [1, 3])


def test_extraction_says_how_far_it_is(study, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    caplog.set_level("INFO")
    with Progress("extract views", 2 * 40, "views") as shown:
        extract(study, "train", tmp_path / "train.npy", np.arange(40), shown)
    said = [line for line in caplog.messages if line.startswith("extract views: ")]
    assert [line.partition(",")[0] for line in said[:-1]] == [
        f"extract views: {done} of 80 views" for done in (16, 32, 40, 56, 72)
    ]
    assert said[-1].startswith("extract views: 80 views in ")


def test_a_view_set_is_of_the_splits_of_the_experiments_that_read_it(monkeypatch):
    monkeypatch.delenv("FRUGALVIT_MIRROR", raising=False)
    head = [{"train": "head", "epochs": 1}]
    cached = {"method": "fine_tune", "views": 2, "augment": AUGMENT}
    shape = {"patch_size": 4, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 16}
    study = load_study(
        {
            "study": "small",
            "dataset": {"source": "digits"},
            "base": {"source": "random", "image_size": 24, "architecture": shape},
            "split_variants": {"swapped": {"swap_train_test": True}, "other": {"seed": 1}},
            "experiments": {
                "frozen": cached | {"schedule": head},
                "swapped": cached | {"schedule": head, "splits": "swapped"},
                "plain": {"method": "fine_tune", "schedule": head, "splits": "other"},
                # Reads no cache: its backbone trains from the start.
                "tuned": cached | {"schedule": [{"train": "all", "epochs": 1}], "splits": "other"},
            },
        }
    )
    [views] = set(study.view_sets) - {"plain"}
    assert study.splits_reading(views) == ["splits", "splits-swapped"]
