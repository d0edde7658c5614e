"""Which image trains, validates, calibrates and tests: the source's own splits or a seeded fraction."""

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from frugalvit.words import SPLIT_NAMES
from frugalvit.errors import ConfigError, DataError

COLUMNS = ["id", "split", "source_split", "label", "class_name"]
PARTS = ("train", "valid", "calibration", "test")  # what an image can be assigned to, if used
_SWAPPED = {"train": "test", "test": "train"}


def require_classes(index: pd.DataFrame) -> None:
    """Refuse a dataset that has nothing to tell apart.

    Raises:
        DataError: its images are of fewer than two classes.
    """
    if index["label"].nunique() < 2:
        names = ", ".join(index["class_name"].unique()) or "none"
        raise DataError(
            f"the dataset has fewer than two classes ({names}); a dataset is a folder of class "
            "folders: is dataset.path one level too high or too low?"
        )


def assign(index: pd.DataFrame, splits: dict) -> pd.DataFrame:
    """Give every image of a store its split: train, valid, calibration, test, or unused.

    `official` keeps the source's splits. `fraction` divides the source's training images and
    leaves its validation images unused, so that the figures compare with a source that has none.
    A source without test images has `test_fraction` of its training images set aside first.
    `calibration`, where it is set, takes its share of the training or validation images last, so
    that no experiment on these splits trains on them or chooses by them. Images of one `group`
    stay together.

    Args:
        index: a store's table.
        splits: the `splits` section of a study.

    Returns:
        `id, split, source_split, label, class_name`, in the order of the index.

    Raises:
        ConfigError: the source has no images for a split that the mode takes from it.
        DataError: a class is too small to be divided by strata.
    """
    split = index["split"].copy()
    if splits["swap_train_test"]:
        if not (split == "test").any():
            raise ConfigError(
                "splits.swap_train_test: this dataset has no test images to swap; set it to false"
            )
        split = split.replace(_SWAPPED)
    if not (split == "train").any():
        raise DataError("the dataset has no training images; add some to its train folder")
    if not (split == "test").any():
        key = "splits.test_fraction"
        split = _divide(index, split, ("train", "test"), 1 - splits["test_fraction"], splits, key)
    if splits["mode"] == "fraction":
        split = split.replace({"valid": "unused"})
        key = "splits.fraction"
        split = _divide(index, split, ("train", "valid"), splits["fraction"], splits, key)
    elif not (split == "valid").any():
        raise ConfigError(
            "splits.mode: 'official' but this dataset has no validation images; set splits.mode: "
            "fraction"
        )
    if calibration := splits["calibration"]:
        key = "splits.calibration.fraction"
        parts = (calibration["from"], "calibration")
        split = _divide(index, split, parts, 1 - calibration["fraction"], splits, key)
    assigned = pd.DataFrame(
        {
            "id": index["id"],
            "split": split,
            "source_split": index["split"],
            "label": index["label"],
            "class_name": index["class_name"],
        }
    )
    return assigned[COLUMNS]


def _divide(
    index: pd.DataFrame,
    split: pd.Series,
    parts: tuple[str, str],
    fraction: float,
    splits: dict,
    key: str,
) -> pd.Series:
    """Keep `fraction` of the first part's images, move the others to the second part."""
    old, new = parts
    images = index[split == old]
    unit, label = _units(images)
    kept = round(fraction * len(label))
    if not 0 < kept < len(label):
        raise ConfigError(
            f"{key}: {len(label)} {SPLIT_NAMES[old]} images or groups leave one set empty; change it or "
            "add images"
        )
    if splits["stratify"]:
        _check_strata(images, label, min(kept, len(label) - kept), key, SPLIT_NAMES[old])
    _, moved = train_test_split(
        np.arange(len(label)),
        train_size=kept,
        test_size=len(label) - kept,
        random_state=splits["seed"],
        stratify=label if splits["stratify"] else None,
    )
    divided = split.copy()
    divided.loc[images.index[np.isin(unit, moved)]] = new
    return divided


def _units(images: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """What moves as a whole, a group or an image of none: unit of each image, label of each unit.

    A group of several classes counts as its most frequent one.
    """
    grouped = images["group"] != ""
    name = ("group " + images["group"]).where(grouped, "image " + images["id"])
    unit, _ = pd.factorize(name)
    counts = pd.DataFrame({"unit": unit, "label": images["label"]}).value_counts().reset_index()
    counts = counts.sort_values(["unit", "count", "label"], ascending=[True, False, True])
    return unit, counts.drop_duplicates("unit")["label"].to_numpy()


def _check_strata(
    images: pd.DataFrame, label: np.ndarray, smaller: int, key: str, old: str
) -> None:
    """Every class needs a unit in each of the two sets."""
    labels, sizes = np.unique(label, return_counts=True)
    if sizes.min() < 2:
        name = images.loc[images["label"] == labels[sizes.argmin()], "class_name"].iloc[0]
        raise DataError(
            f"splits.stratify: class {name!r} has {sizes.min()} {old} image or group left to divide, "
            "too few to be in both sets; add images (three are the least without a test folder), "
            "leave the class out (dataset.classes) or set splits.stratify: false"
        )
    if smaller < len(labels):
        raise ConfigError(
            f"{key}: the smaller set would hold {smaller} images or groups of {len(labels)} "
            "classes; add images, change it or set splits.stratify: false"
        )
