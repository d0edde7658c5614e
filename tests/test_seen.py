"""What share of a photo the model sees: the same at every size, and told."""

import copy

import numpy as np
import pytest
from PIL import Image
from torchvision.models import get_model_weights

from frugalvit.config.bases import resized_side
from frugalvit.config.study import load_study
from frugalvit.data.checks import check, checks_table
from frugalvit.data.prepare import prepare
from frugalvit.data.seen import View, share_seen
from frugalvit.data.splits import assign
from frugalvit.data.store import Store
from frugalvit.data.views import centre_crop
from frugalvit.errors import ConfigError
from tests.imagefolders import write_folder
from tests.workflows import TINY, copy_tiny, edit, run

SHAPE = {"patch_size": 14, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 16}


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A study of a folder of photos."""
    monkeypatch.delenv("FRUGALVIT_MIRROR", raising=False)
    photos = write_folder(tmp_path / "photos", {"rose": 10, "lily": 10})
    return {
        "study": "small",
        "dataset": {"source": "folder", "name": "photos", "path": str(photos)},
        "base": {"source": "random", "image_size": 112, "architecture": SHAPE},
        "splits": {"mode": "fraction"},
        "experiments": {
            "frozen": {"method": "fine_tune", "schedule": [{"train": "head", "epochs": 1}]},
        },
    }


def studied(config, **changes):
    config = copy.deepcopy(config)
    for part, values in changes.items():
        config[part] |= values
    return load_study(config)


@pytest.mark.parametrize(
    ("size", "resize", "folder"),
    [
        (112, 128, "photos-128px"),
        (140, 160, "photos-160px"),
        (224, 256, "photos"),
        (518, 592, "photos-592px"),
    ],
)
def test_what_is_stored_follows_what_the_model_sees(config, size, resize, folder):
    study = studied(config, base={"image_size": size})
    assert study.dataset == folder
    assert (study.datasets[folder]["resize"], study.datasets[folder]["crop"]) == (resize, resize)
    assert list(study.downloads) == ["photos"], "whatever the size, the files are the same"
    assert share_seen(study.view_of("splits")) == pytest.approx((224 / 256) ** 2, abs=0.005)
    assert study.small_views("warn") == []


def test_every_size_keeps_a_margin_that_is_even():
    for size in range(8, 1025):
        resize = resized_side({"source": "file", "image_size": size})
        assert (resize - size) % 2 == 0
        assert 0.6 < share_seen(View(size, resize, resize, "dataset")) < 0.86


def published():
    names = ("vit_b_16", "vit_b_32", "vit_l_16", "vit_l_32", "vit_h_14")
    return [(name, weights) for name in names for weights in get_model_weights(name)]


@pytest.mark.parametrize(("name", "weights"), published(), ids=str)
def test_torchvisions_weights_see_what_they_were_published_with(name, weights):
    transforms = weights.transforms()
    base = {"source": "torchvision", "model": name, "image_size": transforms.crop_size[0]}
    for word in (weights.name, f"{type(weights).__name__}.{weights.name}"):
        assert resized_side(base | {"weights": word}) == transforms.resize_size[0]
    default = get_model_weights(name).DEFAULT.transforms()
    base |= {"weights": "DEFAULT", "image_size": default.crop_size[0]}
    assert resized_side(base) == default.resize_size[0]


def test_drawn_images_are_seen_whole_and_keep_their_folder(config):
    study = studied(config, dataset={"source": "digits", "name": "digits", "path": None},
                    base={"image_size": 24, "architecture": SHAPE | {"patch_size": 4}})  # fmt: skip
    assert study.dataset == "digits"
    assert study.view_of("splits")[:2] == (24, 24)
    assert share_seen(study.view_of("splits")) == 1


def test_a_cut_store_has_a_folder_of_its_own(config):
    base = {"image_size": 224}
    assert studied(config, dataset={"crop": 224}, base=base).dataset == "photos-256px-crop224"
    assert studied(config, dataset={"resize": 224}, base=base).dataset == "photos-224px"


@pytest.mark.parametrize(("size", "stated"), [(112, None), (112, 256), (28, None)])
def test_the_model_sees_the_share_that_is_told(config, tmp_path, size, stated):
    """Coordinates as colours: the corners of the view tell what was cut off."""
    place = np.linspace(0, 255, 600).round().astype(np.uint8)
    picture = np.zeros((600, 800, 3), np.uint8)
    picture[..., 0] = place[:, None]
    picture[:, 100:700, 1] = place
    for path in (tmp_path / "photos").rglob("*.png"):
        Image.fromarray(picture).save(path)
    study = studied(config, dataset={"resize": stated}, base={"image_size": size})
    prepare(study.datasets[study.dataset], tmp_path / "raw", tmp_path / "store")
    view = centre_crop(Store(tmp_path / "store").images("train")[:1], size)[0].astype(float)
    tall = (view[-1, 0, 0] - view[0, 0, 0]) / 255 * size / (size - 1)
    wide = (view[0, -1, 1] - view[0, 0, 1]) / 255 * size / (size - 1)
    assert tall * wide == pytest.approx(share_seen(study.view_of("splits")), abs=0.03)
    typical = share_seen(study.view_of("splits"), 800 / 600)
    assert tall * 600 * wide * 600 / (600 * 800) == pytest.approx(typical, abs=0.03)


SMALL = (
    "dataset.resize: 256 px for base.image_size 112: the model sees the middle 19 % of a square "
    "photo, 14 % of one of 4:3; leave it out (then 128 px) or raise base.image_size"
)


def test_a_stated_size_that_shows_little_is_kept_and_told(config):
    dataset = {"resize": 256}
    study = studied(config, dataset=dataset)
    assert study.datasets["photos"]["resize"] == 256
    assert study.small_views("warn") == [SMALL]
    off = studied(config, dataset=dataset, splits={"checks": {"small_view": "off"}})
    assert off.small_views("warn") == []
    with pytest.raises(ConfigError) as caught:
        studied(config, dataset=dataset, splits={"checks": {"small_view": "error"}})
    assert str(caught.value) == SMALL
    enough = studied(config, dataset={"resize": 144})
    assert enough.small_views("warn") == [], "61 %"


@pytest.mark.parametrize(("resize", "seen", "found"), [(None, 0.7656, 0), (256, 0.1914, 1)])
def test_the_split_report_says_what_the_model_sees(config, tmp_path, resize, seen, found):
    study = studied(config, dataset={"resize": resize})
    prepare(study.datasets[study.dataset], tmp_path / "raw", tmp_path / "store")
    index = Store(tmp_path / "store").index
    splits = study.split_sets["splits"]
    report = check(index, assign(index, splits), splits, view=study.view_of("splits"))
    assert report["seen"] == seen
    told = [line for line in report["lines"] if line.startswith("the model sees the middle")]
    assert len(told) == 1
    row = checks_table(report, []).set_index("check").loc["small_view"]
    assert (row["passed"], row["found"]) == (not found, found)
    assert (SMALL in report["lines"]) == (row["what"] == SMALL) == bool(found)


@pytest.mark.workflow
def test_a_dry_run_warns_once_with_the_line_to_mend(tmp_path):
    folder = copy_tiny(tmp_path)
    write_folder(folder / "photos", {"a": 8, "b": 8})

    def use_photos(study):
        study["dataset"] = {"source": "folder", "path": "photos", "name": "photos", "resize": 64}
        study["splits"] = {"mode": "fraction"}
        study["split_variants"] = {}
        study["experiments"] = {"frozen": study["experiments"]["frozen"]}

    edit(folder, use_photos)
    lines = (folder / "study.yaml").read_text().splitlines()
    number = next(n for n, line in enumerate(lines, 1) if line.startswith("  resize:"))
    words = run(folder, *TINY, "--dry-run", "--quiet", "rules")
    warned = [line for line in words.splitlines() if line.startswith("warning: ")]
    assert len(warned) == 1
    assert warned[0].startswith("warning: dataset.resize: 64 px for base.image_size 24: the model")
    assert warned[0].endswith(f"(line {number} of study.yaml)")
