"""What can fail fails first, and names a setting that works: each advice is followed here."""

import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

from frugalvit.config.study import Study, load_study
from frugalvit.data.division import Division, index_of
from frugalvit.data.sources.listing import listed
from frugalvit.data.splits import assign
from frugalvit.errors import ConfigError, DataError, FrugalError
from frugalvit.evaluation.promises import minimum_groups
from frugalvit.methods.early_exit.enough import check_images
from frugalvit.models.architectures import named_architecture
from frugalvit.models.flops import num_tokens, vit_flops
from tests.imagefolders import photos
from tests.workflows import ROOT, TINY, copy_tiny, edit, planned, refused, snakemake

SHIPPED = ROOT / "config" / "studies" / "your_images.yaml"
EXITS = {
    "method": "early_exit",
    "from": "fine_tuned",
    "schedule": [{"train": "exits", "epochs": 5}],
}


def shipped(folder: Path, **changes) -> dict:
    """The study for one's own images, with the path filled in."""
    config = yaml.safe_load(SHIPPED.read_text())
    config["dataset"]["path"] = str(folder)
    return config | changes


def with_exits(folder: Path, calibration: dict, **targets) -> dict:
    config = shipped(folder)
    config["splits"]["calibration"] = calibration
    config["experiments"]["exits"] = EXITS | (
        {"targets": targets, "choose": "risk"} if targets else {}
    )
    return config


def division_of(study: Study) -> Division:
    listing = listed(study.datasets[study.dataset], Path())
    return Division(index_of(listing), study.split_sets["splits"], "splits")


def advice(error: Exception, key: str) -> str:
    """What a message says to write for a key."""
    found = re.search(
        rf"{re.escape(key)}: (\{{[^}}]*\}}|[\d.]+\d|\w+)", str(error).split("write", 1)[1]
    )
    assert found, f"no setting for {key} in: {error}"
    return yaml.safe_load(found[1])


@pytest.mark.parametrize(("classes", "each"), [(8, 40), (4, 50), (10, 20), (2, 90)])
def test_too_few_calibration_images_are_refused_with_a_division_that_works(tmp_path, classes, each):
    config = with_exits(photos(tmp_path / "in", classes, each), {"from": "valid", "fraction": 0.5})
    with pytest.raises(DataError, match=r"^splits\.calibration\.fraction: gives") as caught:
        load_study(config)
    calibration = advice(caught.value, "splits.calibration")
    assert calibration["from"] == "train", "no share of so few validation images is enough"
    config["splits"]["calibration"] = calibration
    assert division_of(load_study(config)).count("calibration") >= 50


def test_images_that_no_division_makes_enough_are_told_so(tmp_path):
    config = with_exits(photos(tmp_path / "in", 2, 20), {"from": "valid", "fraction": 0.5})
    with pytest.raises(DataError, match=r"add images, or leave experiments\.exits out") as caught:
        load_study(config)
    assert "write" not in str(caught.value)


@pytest.mark.parametrize(("classes", "each"), [(8, 25), (8, 40), (10, 100)])
def test_the_templates_own_advice_works_and_leaves_most_photos_to_train(tmp_path, classes, each):
    """Its lines on early exits, uncommented, with `fraction` as they say."""
    text = SHIPPED.read_text()
    lines = [line.strip("# \n") for line in text.splitlines() if re.match(r"  #   \w+:", line)]
    added = {key: value for line in lines for key, value in yaml.safe_load(line).items()}
    rule = re.search(r"`fraction` is (\d+) / \(number of photos\)", text)
    config = shipped(photos(tmp_path / "in", classes, each), splits=added["splits"])
    config["splits"]["calibration"]["fraction"] = round(int(rule[1]) / (classes * each), 2)
    config["experiments"]["early_exit"] = added["early_exit"]
    study = load_study(config)
    division = division_of(study)
    assert 50 <= division.count("calibration") <= 60
    assert division.count("train") >= 0.5 * 0.6 * classes * each
    check_images(
        "experiments.early_exit",
        study.experiments["early_exit"].evaluation,
        {"abstain": None},
        division,
    )
    assert any(r < 1 for r in study.experiments["merged"].evaluation["r"])


def test_a_promise_that_is_too_small_names_one_that_can_be_shown(tmp_path):
    folder = photos(tmp_path / "in", 8, 40)
    risk = {"epsilon": 0.02, "delta": 0.1}
    config = with_exits(folder, {"from": "train", "fraction": 0.5}, risk=[risk])
    with pytest.raises(
        DataError, match=r"targets\.risk\[0\]\.epsilon: 0.02 cannot be shown"
    ) as caught:
        load_study(config)
    risk["epsilon"] = advice(caught.value, "epsilon")
    load_study(config)
    risk["epsilon"] -= 0.01
    with pytest.raises(DataError, match="cannot be shown"):
        load_study(config)
    assert "calibration: {" not in str(caught.value), "no share of these images would do"


def test_a_promise_that_other_shares_of_the_images_can_show_names_them(tmp_path):
    assert 21 < minimum_groups(0.1, 0.1) < 32, "what the shares below are made for"
    risk = [{"epsilon": 0.1, "delta": 0.1}]
    config = with_exits(
        photos(tmp_path / "in", 8, 40), {"from": "train", "fraction": 0.27}, risk=risk
    )
    config["experiments"]["exits"]["calibration"] = {"certify": 0.4}
    with pytest.raises(DataError, match="cannot be shown with 21") as caught:
        load_study(config)
    certify = advice(caught.value, "experiments.exits.calibration.certify")
    assert load_study(config | {"splits": config["splits"] | {
        "calibration": advice(caught.value, "splits.calibration")}})  # fmt: skip
    config["experiments"]["exits"]["calibration"] = {"certify": certify}
    load_study(config)


@pytest.mark.parametrize(
    ("counts", "splits"),
    [
        ([12] * 10, {"fraction": 0.95}),
        ([12] * 10, {"test_fraction": 0.01}),
        ([30, 30], {"calibration": {"from": "valid", "fraction": 0.01}}),
        ([30, 30, 1], {}),
    ],
)
def test_a_division_that_leaves_too_little_names_what_works(counts, splits):
    index = pd.DataFrame(
        [
            ("train", label, f"class {label}", "")
            for label, n in enumerate(counts)
            for _ in range(n)
        ],
        columns=["split", "label", "class_name", "group"],
    )
    index.insert(0, "id", [f"train-{row:06d}" for row in range(len(index))])
    settings = {
        "mode": "fraction", "fraction": 0.8, "test_fraction": 0.2, "stratify": True, "seed": 0,
        "swap_train_test": False, "calibration": None,
    } | splits  # fmt: skip
    with pytest.raises(FrugalError) as caught:
        assign(index, settings)
    ways = re.findall(r"(?:write|set) splits\.([\w.]+): ([\w.]+\w)", str(caught.value))
    assert ways
    for key, text in ways:
        part, _, inner = key.partition(".")
        value = yaml.safe_load(text)
        assign(index, settings | {part: settings[part] | {inner: value} if inner else value})


def test_of_so_few_images_nothing_is_named_that_would_not_work():
    rows = [("a", "train", 0, "x", ""), ("b", "train", 1, "y", "")]
    index = pd.DataFrame(rows, columns=["id", "split", "label", "class_name", "group"])
    settings = {
        "mode": "fraction", "fraction": 0.8, "test_fraction": 0.25, "stratify": True, "seed": 0,
        "swap_train_test": False, "calibration": None,
    }  # fmt: skip
    with pytest.raises(ConfigError, match=r"add images$"):
        assign(index, settings)


def test_one_class_is_refused_when_the_study_is_read(tmp_path):
    with pytest.raises(DataError, match=r"^dataset: fewer than two classes"):
        load_study(shipped(photos(tmp_path / "in", 1, 40)))


def test_a_cost_out_of_reach_is_refused_with_the_range_when_the_study_is_read(tmp_path):
    config = shipped(photos(tmp_path / "in", 4, 50))
    halting = {"target_gflops": 50}
    config["experiments"]["avit"] = {
        "method": "avit", "from": "fine_tuned", "schedule": [{"train": "all", "epochs": 1}],
        "halting": halting,
    }  # fmt: skip
    with pytest.raises(
        ConfigError, match=r"^experiments\.avit\.halting.target_gflops: 50, but"
    ) as caught:
        load_study(config)
    architecture = named_architecture("vit_b_16")
    least = vit_flops(architecture, 0, [num_tokens(architecture)])
    told = re.search(r"costs ([\d.]+) GFLOPs .* and ([\d.]+) where none does", str(caught.value))
    assert [float(number) for number in told.groups()] == pytest.approx(
        [least, vit_flops(architecture, 0)], rel=1e-3
    )
    halting["target_gflops"] = sum(map(float, told.groups())) / 2
    load_study(config)
    # Of eight blocks less is left.
    config["experiments"]["avit"]["from"] = "first_eight"
    halting["target_gflops"] = 0.9 * float(told[2])
    with pytest.raises(ConfigError, match="target_gflops"):
        load_study(config)


@pytest.mark.workflow
def test_a_dry_run_refuses_what_the_files_of_a_folder_show(tmp_path):
    folder = copy_tiny(tmp_path)
    photos(folder / "photos", 8, 40)

    def own(study):
        study["dataset"] = {"source": "folder", "path": "photos", "name": "photos", "resize": 24}
        study["splits"] = {"mode": "fraction", "calibration": {"from": "valid", "fraction": 0.5}}
        study["split_variants"] = {}
        kept = {name: study["experiments"][name] for name in ("frozen", "early")}
        kept["early"]["targets"] = {"drop": [0.05]}
        kept["early"]["choose"] = "drop"
        study["experiments"] = kept

    edit(folder, own)
    words = refused(folder, *TINY)
    assert "gives 25 calibration images, but at least 50 are needed" in words
    assert "of study.yaml)" in words


@pytest.mark.workflow
def test_too_few_images_of_another_source_stop_before_the_base_and_features(tmp_path):
    folder = copy_tiny(tmp_path)
    edit(folder, lambda study: study["splits"]["calibration"].update(fraction=0.2))
    done = snakemake(folder, *TINY, "--resources", "gpu=0")
    assert done.returncode != 0
    told = next(line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert "gives 24 calibration images, but at least 50 are needed" in told
    results = folder / "results" / "tiny"
    assert not (results / "base" / "weights.safetensors").exists()
    assert not (results / "features").exists() or not list((results / "features").rglob("*.npy"))
    calibration = advice(told, "splits.calibration")
    edit(folder, lambda study: study["splits"].update(calibration=calibration))
    target = "results/tiny/base/experiment_checks.json"
    done = snakemake(folder, *TINY, "--resources", "gpu=0", "--", target)
    assert done.returncode == 0, done.stderr
    assert (results / "base" / "images_checked.json").exists()


@pytest.mark.workflow
def test_a_check_that_failed_once_trains_nothing_anew(copied):
    promise = [{"epsilon": 0.01, "delta": 0.05}]
    text = (copied / "study.yaml").read_text()
    edit(copied, lambda study: study["experiments"]["early"]["targets"].update(risk=promise))
    # On one core, where the check is first and nothing begins beside it.
    done = snakemake(copied, *TINY, "--resources", "gpu=0", "--cores", "1")
    assert done.returncode != 0
    assert "epsilon: 0.01 cannot be shown" in done.stderr
    (copied / "study.yaml").write_text(text)
    assert planned(copied, *TINY, "--resources", "gpu=0") == {"check_experiments": 1}
