"""Which image trains, validates, calibrates and tests: the source's own splits or a seeded fraction."""

import numpy as np
import pandas as pd

from frugalvit.errors import ConfigError, DataError, FrugalError
from frugalvit.words import SPLIT_NAMES

COLUMNS = ["id", "split", "source_split", "label", "class_name"]
PARTS = ("train", "valid", "calibration", "test")  # what an image can be assigned to, if used
UNUSED = "unused"  # of no split
_SWAPPED = {"train": "test", "test": "train"}
SHARES = [n / 10 for n in range(1, 10)]  # tried in place of one that divides too little


class _TooFew(Exception):
    """A division leaves a set, or a class, with too few images."""

    def __init__(self, kind: type[FrugalError], key: str, share: str, problem: str):
        super().__init__(problem)
        self.kind, self.key, self.share, self.problem = kind, key, share, problem


def require_classes(index: pd.DataFrame) -> None:
    """Refuse a dataset that has nothing to tell apart.

    Raises:
        DataError: its images are of fewer than two classes.
    """
    if index["label"].nunique() < 2:
        names = ", ".join(index["class_name"].unique()) or "none"
        raise DataError(
            f"dataset: fewer than two classes ({names}); a dataset is a folder of class folders: is "
            "dataset.path one level too high or too low?"
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
        ConfigError: the source has no images for a split that the mode takes from it, or a share
            leaves too few; the message names a share that works with these images, if any does.
        DataError: a class is too small to be divided by strata.
    """
    try:
        return _assigned(index, splits)
    except _TooFew as error:
        remedy = _remedy(index, splits, error)
        raise error.kind(f"{error.key}: {error.problem}; {remedy}") from None


def _remedy(index: pd.DataFrame, splits: dict, error: _TooFew) -> str:
    """What works with these images, tried: another share, or classes divided as it falls."""
    name, _, of_calibration = error.share.partition(".")
    old = splits[name][of_calibration] if of_calibration else splits[name]
    ways = ["add images"]
    for share in sorted(SHARES, key=lambda share: abs(share - old)):
        value = splits[name] | {of_calibration: share} if of_calibration else share
        if share != old and _works(index, splits | {name: value}):
            ways.append(f"write splits.{error.share}: {share:g}")
            break
    if error.kind is DataError:
        ways[0] += " (three are the least without a test folder)"
        ways.append("leave the class out (dataset.classes)")
    if splits["stratify"] and _works(index, splits | {"stratify": False}):
        ways.append("set splits.stratify: false")
    return f"{', '.join(ways[:-1])} or {ways[-1]}" if ways[1:] else ways[0]


def _works(index: pd.DataFrame, splits: dict) -> bool:
    try:
        _assigned(index, splits)
    except (_TooFew, FrugalError):
        return False
    return True


def _assigned(index: pd.DataFrame, splits: dict) -> pd.DataFrame:
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
        share = "test_fraction"
        split = _divide(index, split, ("train", "test"), 1 - splits[share], splits, share)
    if splits["mode"] == "fraction":
        split = split.replace({"valid": UNUSED})
        share = "fraction"
        split = _divide(index, split, ("train", "valid"), splits[share], splits, share)
    elif not (split == "valid").any():
        raise ConfigError(
            "splits.mode: 'official' but this dataset has no validation images; set splits.mode: "
            "fraction"
        )
    if calibration := splits["calibration"]:
        parts, share = (calibration["from"], "calibration"), "calibration.fraction"
        split = _divide(index, split, parts, 1 - calibration["fraction"], splits, share)
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
    share: str,
) -> pd.Series:
    """Keep `fraction` of the first part's images, move the others to the second part.

    `share` is the key under `splits` that says how many.
    """
    # A second of every job that reads which image is in which split, which most do.
    from sklearn.model_selection import train_test_split

    old, new = parts
    images = index[split == old]
    unit, label = _units(images)
    kept = round(fraction * len(label))
    if not 0 < kept < len(label):
        problem = f"{len(label)} {SPLIT_NAMES[old]} images or groups leave one set empty"
        raise _TooFew(ConfigError, f"splits.{share}", share, problem)
    if splits["stratify"]:
        _check_strata(images, label, min(kept, len(label) - kept), share, SPLIT_NAMES[old])
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
    images: pd.DataFrame, label: np.ndarray, smaller: int, share: str, old: str
) -> None:
    """Every class needs a unit in each of the two sets."""
    labels, sizes = np.unique(label, return_counts=True)
    if sizes.min() < 2:
        name = images.loc[images["label"] == labels[sizes.argmin()], "class_name"].iloc[0]
        problem = (
            f"class {name!r} has {sizes.min()} {old} image or group left to divide, too few to be in "
            "both sets"
        )
        raise _TooFew(DataError, "splits.stratify", share, problem)
    if smaller < len(labels):
        problem = f"the smaller set would hold {smaller} images or groups of {len(labels)} classes"
        raise _TooFew(ConfigError, f"splits.{share}", share, problem)
