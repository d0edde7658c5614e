"""Splits are what the config says, the same every time, and examined before anyone trains."""

import pandas as pd
import pytest

from frugalvit.data import thumbnails
from frugalvit.data.checks import check, raise_errors
from frugalvit.data.prepare import prepare
from frugalvit.data.splits import assign
from frugalvit.data.store import Store
from frugalvit.errors import ConfigError, DataError
from tests.imagefolders import noise, settings, write_folder

CHECKS = ["missing_classes", "imbalance", "duplicates_within", "duplicates_across"]
CHECKS += ["group_leak", "label_mismatch"]


def split_settings(**changes) -> dict:
    policy = changes.pop("policy", "warn")
    return {
        "mode": "official",
        "fraction": 0.8,
        "test_fraction": 0.2,
        "stratify": True,
        "swap_train_test": False,
        "seed": 0,
        "calibration": None,
        "imbalance_ratio": 10,
        "checks": {**dict.fromkeys(CHECKS, policy), "small_splits": "off"},
    } | changes


def make_index(**counts: list[int]) -> pd.DataFrame:
    """An index with `train=[10, 10]`: ten training images of each of two classes."""
    rows = []
    for split in ("train", "valid", "test"):
        labels = [c for c, n in enumerate(counts.get(split, [])) for _ in range(n)]
        for row, label in enumerate(labels):
            name = f"{split}-{row:06d}"
            rows.append([name, f"{split}/{row}.png", split, label, f"class {label}", "", name, ""])
    columns = ["id", "file", "split", "label", "class_name", "box", "sha256", "group"]
    return pd.DataFrame(rows, columns=columns)


def sizes(assignments: pd.DataFrame) -> list[int]:
    counts = assignments["split"].value_counts()
    return [int(counts.get(split, 0)) for split in ("train", "valid", "test", "unused")]


def flowers() -> pd.DataFrame:
    """Flowers-102's sizes: 1020, 1020 and 6149."""
    return make_index(train=[10] * 102, valid=[10] * 102, test=[61] * 29 + [60] * 73)


def test_official_splits_stay():
    index = flowers()
    assignments = assign(index, split_settings())
    assert list(assignments.columns) == ["id", "split", "source_split", "label", "class_name"]
    assert assignments["split"].equals(index["split"])
    assert sizes(assignments) == [1020, 1020, 6149, 0]


def test_the_sources_fraction():
    assignments = assign(flowers(), split_settings(mode="fraction"))
    assert sizes(assignments) == [816, 204, 6149, 1020]
    per_class = assignments[assignments["split"] == "valid"].groupby("label").size()
    assert (per_class == 2).all()
    assert len(per_class) == 102
    assert set(assignments.loc[assignments["split"] == "unused", "source_split"]) == {"valid"}


def test_the_sources_fraction_without_strata_misses_classes():
    splits = split_settings(mode="fraction", stratify=False)
    assignments = assign(flowers(), splits)
    assert sizes(assignments) == [816, 204, 6149, 1020]
    report = check(flowers(), assignments, splits)
    assert report["lines"][0] == "816 204 6149"
    assert "valid: At least one class is not represented in this set" in "\n".join(report["lines"])
    assert "train: Every class is represented in this set" in report["lines"]


def test_a_seed_decides_and_repeats():
    splits = [split_settings(mode="fraction", seed=seed) for seed in (0, 0, 1)]
    one, again, other = (assign(flowers(), each) for each in splits)
    assert one.equals(again)
    assert not one.equals(other)


def test_swapped_sets():
    splits = split_settings(mode="fraction", swap_train_test=True)
    assignments = assign(flowers(), splits)
    assert sizes(assignments) == [4919, 1230, 1020, 1020]
    train = assignments[assignments["split"] == "train"]
    assert set(train["source_split"]) == {"test"}
    with pytest.raises(ConfigError, match=r"splits.swap_train_test: .* no test images"):
        assign(make_index(train=[9]), splits)


@pytest.mark.parametrize(("source", "left"), [("train", [612, 1020]), ("valid", [1020, 612])])
def test_calibration_images_are_nobody_elses(source, left):
    splits = split_settings(calibration={"from": source, "fraction": 0.4})
    assignments = assign(flowers(), splits)
    assert sizes(assignments)[:2] == left
    calibration = assignments[assignments["split"] == "calibration"]
    assert set(calibration["source_split"]) == {source}
    assert (calibration.groupby("label").size() == 4).all()
    report = check(flowers(), assignments, splits)
    assert report["sizes"] == {
        "train": left[0], "valid": left[1], "calibration": 408, "test": 6149,
    }  # fmt: skip
    others = assign(flowers(), split_settings())["split"]
    untouched = assignments["split"] != "calibration"
    assert assignments["split"][untouched].equals(others[untouched])


def test_calibration_keeps_groups_whole_and_refuses_to_empty_a_split():
    index = make_index(train=[10, 10], valid=[60, 60], test=[5, 5])
    valid = index["split"] == "valid"
    index.loc[valid, "group"] = [f"scan {n // 3}" for n in range(120)]
    splits = split_settings(calibration={"from": "valid", "fraction": 0.5})
    assignments = assign(index, splits)
    places = assignments[valid].groupby(index["group"])["split"].nunique()
    assert (places == 1).all()
    assert sizes(assignments) == [20, 60, 10, 0]
    leaking = assignments.copy()
    leaking.loc[index.index[valid][0], "split"] = "calibration"
    leaking.loc[index.index[valid][1], "split"] = "valid"
    found = check(index, leaking, splits)["checks"]["group_leak"]["found"]
    assert len(found) == 1
    with pytest.raises(ConfigError, match=r"splits.calibration.fraction: .* validation images"):
        assign(make_index(train=[9, 9], valid=[1, 1], test=[1, 1]),
               split_settings(calibration={"from": "valid", "fraction": 0.1}))  # fmt: skip


def test_official_without_validation_images_names_the_remedy():
    with pytest.raises(ConfigError, match=r"splits.mode: .* set splits.mode: fraction"):
        assign(make_index(train=[10, 10], test=[5, 5]), split_settings())


def test_without_test_images_some_are_set_aside_first():
    index = make_index(train=[50, 50])
    assignments = assign(index, split_settings(mode="fraction"))
    assert sizes(assignments) == [64, 16, 20, 0]
    per_class = assignments.groupby(["split", "label"]).size()
    assert per_class["test"].tolist() == [10, 10]
    again = assign(index, split_settings(mode="fraction", fraction=0.5))
    assert again[again["split"] == "test"].equals(assignments[assignments["split"] == "test"])
    kept = assign(make_index(train=[50, 50], valid=[5, 5]), split_settings())
    assert sizes(kept) == [80, 10, 20, 0]


@pytest.mark.parametrize("stratify", [True, False])
def test_groups_stay_whole(stratify):
    index = make_index(train=[60, 60], test=[5, 5])
    index.loc[index["split"] == "train", "group"] = [f"scan {n // 3}" for n in range(120)]
    index.loc[:5, "group"] = ""
    splits = split_settings(mode="fraction", stratify=stratify)
    assignments = assign(index, splits)
    grouped = assignments.assign(group=index["group"])
    grouped = grouped[grouped["group"] != ""]
    assert (grouped.groupby("group")["split"].nunique() == 1).all()
    assert 85 <= sizes(assignments)[0] <= 105
    assert check(index, assignments, splits)["checks"]["group_leak"]["passed"]


def test_a_class_too_small_for_strata():
    index = make_index(train=[10, 1, 10], test=[1, 1, 1])
    with pytest.raises(DataError, match=r"class 'class 1' has 1 .* splits.stratify: false"):
        assign(index, split_settings(mode="fraction"))
    assert sizes(assign(index, split_settings(mode="fraction", stratify=False)))[:2] == [17, 4]


def test_a_fraction_that_leaves_too_little():
    index = make_index(train=[3] * 10, test=[1] * 10)
    with pytest.raises(ConfigError, match=r"splits.fraction: .* 3 images .* 10 classes"):
        assign(index, split_settings(mode="fraction", fraction=0.9))
    with pytest.raises(ConfigError, match=r"splits.fraction: 2 .* leave one set empty"):
        assign(make_index(train=[2], test=[1]), split_settings(mode="fraction", fraction=0.1))


def test_no_training_images():
    with pytest.raises(DataError, match="no training images"):
        assign(make_index(test=[2]), split_settings())


def examined(index, **changes):
    splits = split_settings(**changes)
    return check(index, assign(index, splits), splits)


def test_clean_splits_pass_everything():
    report = examined(make_index(train=[5, 5], valid=[2, 2], test=[3, 3]), policy="error")
    assert report["lines"] == [
        "10 4 6",
        *(
            f"{split}: Every class is represented in this set"
            for split in ("train", "valid", "test")
        ),
    ]
    assert report["sizes"] == {"train": 10, "valid": 4, "test": 6}
    assert report["class_counts"]["valid"] == {"class 0": 2, "class 1": 2}
    assert all(entry["passed"] for entry in report["checks"].values())
    raise_errors(report)


def test_missing_classes_are_named():
    report = examined(make_index(train=[5, 5, 5], valid=[2, 0, 0], test=[3, 3, 3]))
    found = report["checks"]["missing_classes"]["found"]
    assert found == [{"split": "valid", "classes": ["class 1", "class 2"]}]
    assert report["warnings"] == [
        "splits.checks.missing_classes: valid: At least one class is not represented in this set: "
        "2 of 3: class 1, class 2"
    ]


def test_imbalance_speaks_above_its_ratio():
    index = make_index(train=[21, 2], valid=[1, 1], test=[1, 1])
    assert not examined(index)["checks"]["imbalance"]["passed"]
    assert examined(index, imbalance_ratio=11)["checks"]["imbalance"]["passed"]


def test_identical_images_inside_and_across_splits():
    index = make_index(train=[6, 6], valid=[2, 2], test=[3, 3])
    index.loc[index["id"].isin(["train-000000", "train-000001"]), "sha256"] = "same"
    index.loc[index["id"].isin(["train-000003", "test-000000"]), "sha256"] = "leak"
    report = examined(index)
    within = report["checks"]["duplicates_within"]["found"]
    across = report["checks"]["duplicates_across"]["found"]
    assert [[m["file"] for m in group] for group in within] == [["train/0.png", "train/1.png"]]
    assert [[m["file"] for m in group] for group in across] == [["train/3.png", "test/0.png"]]
    assert report["checks"]["label_mismatch"]["passed"]
    assert any("train/3.png [train] = test/0.png [test]" in line for line in report["lines"])


def test_unused_images_cannot_leak():
    index = make_index(train=[10, 10], valid=[2, 2], test=[3, 3])
    index.loc[index["id"].isin(["valid-000000", "test-000000"]), "sha256"] = "same"
    assert not examined(index)["checks"]["duplicates_across"]["passed"]
    assert examined(index, mode="fraction")["checks"]["duplicates_across"]["passed"]


def test_one_picture_under_two_labels():
    index = make_index(train=[6, 6], valid=[2, 2], test=[3, 3])
    index.loc[index["id"].isin(["train-000000", "train-000011"]), "sha256"] = "same"
    report = examined(index)
    assert "train/0.png [train] as 'class 0' = train/11.png [train] as 'class 1'" in " ".join(
        report["warnings"]
    )


def test_classes_without_a_name():
    index = make_index(train=[5, 5], valid=[2, 2], test=[3, 3])
    splits = split_settings()
    report = check(index, assign(index, splits), splits, {"unnamed_classes": ["007"]})
    assert report["checks"]["label_mismatch"]["found"] == [{"unnamed_classes": ["007"]}]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["caf\u00e9", "cafe\u0301"], r"'caf\xe9' and 'cafe\u0301'"),
        (["Cat", "cat"], "'Cat' and 'cat'"),
        (["cat", "cat "], "'cat' and 'cat '"),
    ],
)
def test_classes_whose_names_look_alike(names, told):
    index = make_index(train=[5, 5], valid=[2, 2], test=[3, 3])
    index["class_name"] = index["label"].map(dict(enumerate(names)))
    report = examined(index)
    assert report["checks"]["label_mismatch"]["found"] == [{"alike_classes": names}]
    assert told in report["checks"]["label_mismatch"]["what"]
    assert any(told in line for line in report["warnings"])


def test_a_group_in_two_splits():
    index = make_index(train=[5, 5], valid=[2, 2], test=[3, 3])
    index.loc[index["id"].isin(["train-000000", "test-000001"]), "group"] = "scan_0001"
    found = examined(index)["checks"]["group_leak"]["found"]
    assert found == [{"group": "scan_0001", "splits": ["train", "test"]}]


@pytest.mark.parametrize("policy", ["off", "warn", "error"])
def test_policies(policy):
    index = make_index(train=[5, 5], valid=[2, 0], test=[3, 3])
    report = examined(index, policy=policy)
    if policy == "error":
        with pytest.raises(DataError, match=r"splits.checks.missing_classes: valid"):
            raise_errors(report)
    else:
        raise_errors(report)
        assert bool(report["warnings"]) == (policy == "warn")
        assert ("missing_classes" in report["checks"]) == (policy == "warn")


def test_sample_images_show_each_class_once(tmp_path):
    root = write_folder(tmp_path / "in", {f"train/{c:02d}": 2 for c in range(30)} | {"test/00": 1})
    prepare(settings(path=str(root)), tmp_path / "raw", tmp_path / "store")
    store = Store(tmp_path / "store")
    splits = split_settings(mode="fraction", fraction=0.5)
    assignments = assign(store.index, splits)
    samples = thumbnails.sample_images(store, assignments)
    assert list(samples.columns) == ["id", "split", "label", "class_name", "image"]
    assert len(samples) == 24
    assert samples["label"].is_unique
    assert (samples["label"].iloc[0], samples["label"].iloc[-1]) == (0, 29)
    first = store.index.set_index("id").loc[samples["id"].iloc[0]]
    shown = thumbnails.decode(samples["image"].iloc[0])
    assert (shown[::3, ::3] == store.images("train")[first["row"]]).all()


@pytest.mark.parametrize(("side", "shown"), [(16, 48), (24, 48), (40, 80), (48, 48), (256, 96)])
def test_thumbnails_are_neither_tiny_nor_large(side, shown):
    assert thumbnails.decode(thumbnails.encode(noise(0, side, side))).shape == (shown, shown, 3)
