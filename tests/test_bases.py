"""Several bases a study, at several image sizes: what is refused, and what each sees."""

import copy

import numpy as np
import pytest
import torch
import yaml

from frugalvit.config.schema import validate
from frugalvit.config.study import load_study
from frugalvit.data.arrays import Square
from frugalvit.data.batches import ImageSet
from frugalvit.data.boxes import boxes_in_view
from frugalvit.data.photos import Photos
from frugalvit.data.prepare import prepare
from frugalvit.data.seen import scaled_side
from frugalvit.data.store import Store
from frugalvit.errors import ConfigError
from frugalvit.evaluation.summary import BASE, COLUMNS, summarize
from frugalvit.methods.expected import Counts, Speeds, expected_jobs, room_needed
from frugalvit.operating_point import read_points
from tests.imagefolders import write_folder
from tests.workflows import ROOT

STUDY = yaml.safe_load((ROOT / "tests" / "studies" / "bases.yaml").read_text())
SHAPE = {"patch_size": 16, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32}


@pytest.fixture
def study():
    return copy.deepcopy(STUDY)


def without_cnn(study):
    """Of ViTs alone."""
    del study["bases"]["cnn"], study["experiments"]["cnn_all"]
    return load_study(study)


def photos(tmp_path, **changes):
    """A study of photos with a ViT at its own 224 px."""
    write_folder(tmp_path / "photos", {"a": 12, "b": 12})
    study = copy.deepcopy(STUDY) | {
        "dataset": {"source": "folder", "path": str(tmp_path / "photos"), "name": "photos"},
        "splits": {"mode": "fraction", "test_fraction": 0.25},
        "bases": {"vit": {"source": "random", "image_size": 224, "architecture": SHAPE}},
    }
    head = {"method": "fine_tune", "schedule": [{"train": "head", "epochs": 1}]}
    study["experiments"] = {"own": head, "small": head | {"image_size": 112}}
    return study | changes


def test_folders_are_of_bases_at_sizes(study):
    loaded = load_study(study)
    assert list(loaded.bases) == ["base", "base-16px", "base-tiny-16px", "base-cnn"]
    assert loaded.base_of("tiny_merged-s0") == "base-tiny-16px", "its source's"
    assert set(loaded.plain_networks) == {f"{base}/cost" for base in loaded.bases}
    assert loaded.bases["base"].settings == validate(STUDY["bases"]["small"], "base")


def test_one_base_stands_where_it_always_stood(study):
    study["base"] = study.pop("bases")["small"]
    study["experiments"] = {"head": study["experiments"]["head"]}
    del study["experiments"]["head"]["matrix"]
    loaded = load_study(study)
    assert list(loaded.bases) == ["base"]
    assert list(loaded.plain_networks) == ["base/cost"]
    assert "stored" not in loaded.bases["base"].settings


def change(study, experiment, **keys):
    study["experiments"][experiment] |= keys


MISTAKES = {
    "no such base": (lambda study: change(study, "tiny_all", base="huge"),
                     "experiments.tiny_all.base: no base 'huge'; bases has small, tiny, cnn"),
    "another than its source's": (
        lambda study: change(study, "tiny_merged", base="small"),
        "experiments.tiny_merged.base: starts from 'tiny_all', whose base is tiny; remove base or"),
    "another size than its source's": (
        lambda study: change(study, "tiny_merged", image_size=24),
        "tiny_merged.image_size: starts from 'tiny_all', which sees 16 px; remove image_size or from"),
    "half a patch": (lambda study: change(study, "tiny_all", image_size=20),
                     "tiny_all.image_size: 20 px is no multiple of the patch size 8; use 16"),
    "more than there is": (lambda study: change(study, "tiny_all", image_size=32),
                           "experiments.tiny_all.image_size: 32 px, but dataset.crop stores 24 px"),
    "one and several": (lambda study: study.update(base=study["bases"]["small"]),
                        "base: bases names them all; write this one there, with a name"),
    "called base": (lambda study: study["bases"].update(base=study["bases"]["small"]),
                    "bases.base: the name of a base that stands alone"),
    "a mistake in one of them": (
        lambda study: study["bases"]["tiny"].update(source="torchvision"),
        "bases.tiny.model: missing; base.source torchvision needs it"),
    "a search over sizes": (
        lambda study: change(study, "tiny_all", grid={"parameters": {"image_size": [16, 24]}}),
        "grid.parameters.image_size: a grid cannot vary this"),
    "compared with another base": (
        lambda study: study["experiments"].update(halting={
            "method": "avit", "baseline": "tiny_all", "schedule": [{"train": "all", "epochs": 1}]}),
        "experiments.halting.baseline: 'tiny_all' has another base or image_size"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(study, mistake):
    wrong, words = MISTAKES[mistake]
    wrong(study)
    with pytest.raises(ConfigError) as caught:
        load_study(study)
    assert words in str(caught.value)


def test_saying_what_the_source_has_is_no_mistake(study):
    change(study, "tiny_merged", base="tiny", image_size=16)
    assert load_study(study).base_of("tiny_merged-s0") == "base-tiny-16px"


def test_all_sizes_see_the_same_share_of_one_store(tmp_path):
    loaded = load_study(photos(tmp_path))
    assert loaded.datasets["photos"]["crop"] == 256
    assert "stored" not in loaded.bases["base"].settings
    assert loaded.bases["base-112px"].settings["stored"] == 128
    larger = photos(tmp_path)
    larger["experiments"]["large"] = larger["experiments"]["own"] | {"image_size": 448}
    bases = load_study(larger).bases
    shares = {base.image_size: base.settings.get("stored", 512) for base in bases.values()}
    assert shares == {224: 256, 112: 128, 448: 512}


def test_a_study_that_sets_resize_lets_all_see_what_the_largest_does(tmp_path):
    study = photos(tmp_path)
    study["dataset"]["resize"] = 224
    bases = load_study(study).bases
    assert "stored" not in bases["base"].settings
    assert bases["base-112px"].settings["stored"] == 112


def test_published_crops_stay_what_they_were(tmp_path):
    study = photos(tmp_path)
    study["bases"]["swag"] = {
        "source": "torchvision", "model": "vit_b_16", "weights": "IMAGENET1K_SWAG_E2E_V1",
        "image_size": 384,
    }  # fmt: skip
    study["experiments"]["swag"] = study["experiments"]["own"] | {"base": "swag"}
    loaded = load_study(study)
    assert loaded.datasets["photos-384px"]["resize"] == 384
    assert "stored" not in loaded.bases["base-swag"].settings, "all of the square"
    assert loaded.bases["base"].settings["stored"] == 256


@pytest.mark.parametrize("size", [16, 32, 48, 112, 140, 160, 196, 224])
def test_views_lie_in_the_centre(size):
    side = scaled_side(size, 0.875, 256, 256)
    assert (side - size) % 2 == 0
    assert size / side == pytest.approx(0.875, abs=1 / size)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    digits = {"canvas": 48, "train": 12, "valid": 4, "test": 4, "size": [16, 30]}
    dataset = validate({"source": "digits", "name": "digits", "digits": digits}, "dataset")
    prepare(dataset | {"resize": 48, "crop": 48}, folder / "raw", folder)
    return Store(folder)


SQUARE = Square(48, 48, 10_000_000)
SEEN = {"image_size": 20, "mean": [0.5] * 3, "std": [0.5] * 3, "stored": 24}


def test_a_smaller_view_shows_the_same_pixels_smaller(store):
    large = ImageSet(store, store.ids("train"), SEEN | {"image_size": 40, "stored": 48})
    small = ImageSet(store, store.ids("train"), SEEN)
    assert small.pictures(range(3)).shape == (3, 20, 20, 3)
    views = [images.__getitems__(list(range(12)))[0] for images in (large, small)]
    assert views[1].shape == (12, 3, 20, 20)
    shrunk = torch.nn.functional.avg_pool2d(views[0], 2)
    assert (shrunk - views[1]).abs().mean() < 0.08, "two ways to shrink"
    np.testing.assert_allclose(large.boxes, small.boxes)
    np.testing.assert_allclose(small.boxes, boxes_in_view(store, store.ids("train"), 40))


@pytest.mark.parametrize("later", [False, True])
def test_random_views_and_their_boxes_are_drawn_at_that_size(store, later):
    how = ({"crop_scale": [0.5, 1.0], "horizontal_flip": 0.5}, 3, True, later)
    sets = [
        ImageSet(store, store.ids("train"), SEEN | sizes, *how)
        for sizes in ({}, {"image_size": 40, "stored": 48})
    ]
    batches = [images.__getitems__(list(range(12))) for images in sets]
    boxes = [batch[1][:, 1:] for batch in batches]
    for images, batch, size in zip(sets, batches, (20, 40)):
        assert images.view(batch[0]).shape[-1] == size
    known = ~torch.isnan(boxes[0]).any(dim=1) & ~torch.isnan(boxes[1]).any(dim=1)
    assert known.any()
    assert (boxes[0] - boxes[1])[known].abs().max() < 0.12, "the same window, to a pixel"


def test_a_new_photo_is_seen_as_a_stored_one(tmp_path):
    write_folder(tmp_path / "photos", {"a": 2, "b": 2})
    files = sorted((tmp_path / "photos").rglob("*.*"))
    small = Photos(files, SQUARE, SEEN).__getitems__([0, 1])
    large = Photos(files, SQUARE, SEEN | {"image_size": 40, "stored": 48}).__getitems__([0, 1])
    assert small.images.shape == (2, 3, 20, 20)
    for one, other in zip(small.parts, large.parts):
        assert one == pytest.approx(other)


def test_the_estimate_is_of_each_base_at_its_size(study):
    loaded = without_cnn(study)
    counts = {"splits": Counts(96, 60, 0, 60)}
    slow = {base: Speeds(1.0, 1.0, 3.0, 0.01, 5.0, layers=2) for base in loaded.bases}
    jobs = {job.rule: job.seconds for job in expected_jobs(loaded, counts, slow, stored=True)}
    assert {"extract_features plain", "extract_features base-16px plain"} <= set(jobs)
    fast = slow | {"base-tiny-16px": Speeds(0.1, 0.1, 0.3, 0.01, 5.0, layers=2)}
    less = {job.rule: job.seconds for job in expected_jobs(loaded, counts, fast, stored=True)}
    assert less["train_run"] < jobs["train_run"]
    assert less["extract_features plain"] == jobs["extract_features plain"]
    assert (
        less["extract_features base-tiny-16px plain"]
        < jobs["extract_features base-tiny-16px plain"]
    )
    shapes = {
        base: one.settings["architecture"] | {"image_size": one.image_size}
        for base, one in loaded.bases.items()
    }
    room = room_needed(loaded, shapes, counts["splits"], 1)
    images = 96 + 60 + 60
    assert room["features"] == pytest.approx(images * 2 * 4 * (2 * 3 * 16 + 2 * 8) / 1e9)


def test_the_summary_names_bases_where_there_are_several():
    measures = {"valid": dict.fromkeys(("n", "accuracy", "macro_f1", "loss", "ece"), 1)}
    card = {"method": "fine_tune", "train_seconds": 1, "peak_memory_mb": 1, "device": "cpu"}
    run = {"run": "a-s0", "experiment": "a", "seed": 0, "point": None}
    how = ({}, {}, read_points([]), 32, {})
    alone = summarize("study", [(run, measures, card)], *how)
    assert list(alone.columns) == COLUMNS
    named = [(run | {"base": "tiny", "image_size": 16}, measures, card)]
    several = summarize("study", named, *how)
    assert list(several.columns) == [*COLUMNS, *BASE]
    assert several[list(BASE)].to_numpy().tolist() == [["tiny", 16]]
