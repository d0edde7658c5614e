"""A study's datasets: their settings checked and completed, and how bases see the one store."""

from collections.abc import Mapping

from frugalvit.config.bases import base_key, resized_side
from frugalvit.config.experiments import TIMM
from frugalvit.config.sized_bases import SizedBase
from frugalvit.data.seen import scaled_side
from frugalvit.data.sources.all_sources import source
from frugalvit.errors import ConfigError

USUAL_SIDE = 256  # px, whose folder has the dataset's bare name


def collect_datasets(
    config: dict, mirror: str | None, bases: Mapping[str, SizedBase]
) -> tuple[dict[str, dict], dict[str, str]]:
    """The study's datasets by their folder under data/, checked and completed; its own first.

    The folder has the dataset's name, and the size where it is not the usual one, so that studies of
    another `image_size` do not overwrite each other's images. The store is as large as the largest view
    asks; what smaller ones do with it becomes `stored` of their base's settings.

    Args:
        config: the study.
        mirror: folder in which files are looked for first.
        bases: that experiments start from.

    Returns:
        The datasets, and the folder of each dataset that pretrains a base, by the base's name.

    Raises:
        ConfigError: names the key.
    """
    found: dict[str, dict] = {}
    free = config["dataset"]["resize"] is None
    largest = max(bases.values(), key=lambda base: base.image_size)
    usual = max(resized_side(base.settings) for base in bases.values())
    folder = _add(found, config["dataset"], "dataset", mirror, usual)
    own = found[folder]
    check_size(largest.image_size, largest.key, own, "dataset")
    for base in bases.values():
        # Every size sees the same share: the base's usual one, or what `resize` lets the largest see.
        share = largest.image_size / own["resize"]
        if free and own["resize"] == usual:
            share = base.image_size / resized_side(base.settings)
        if free and base.settings["source"] == TIMM:  # which publishes its share with its weights
            base.settings["store"] = [own["resize"], own["crop"]]
            continue
        side = scaled_side(base.image_size, share, own["resize"], own["crop"])
        if side < base.image_size:
            check_size(base.image_size, base.key, {"crop": side}, "dataset")
        if side != own["crop"]:
            base.settings["stored"] = side
    pretraining = {}
    for name in dict.fromkeys(base.name for base in bases.values()):
        settings, at = config["bases"][name], base_key(name)
        if settings["source"] == "pretrain":
            dataset, key = settings["pretrain"]["dataset"], f"{at}.pretrain.dataset"
            pretraining[name] = _add(found, dataset, key, mirror, resized_side(settings))
            check_size(settings["image_size"], f"{at}.image_size", dataset, key)
    return found, pretraining


def _add(found: dict[str, dict], dataset: dict, key: str, mirror: str | None, usual: int) -> str:
    """Complete a dataset, and add it to those found; its folder."""
    folder = _complete_dataset(dataset, key, mirror, usual)
    others = [other for other in found.values() if other["name"] == dataset["name"]]
    if any(other != dataset for other in others):
        raise ConfigError(
            f"{key}.name: two different datasets are named '{dataset['name']}'; give it its own name"
        )
    found[folder] = dataset
    return folder


def _complete_dataset(dataset: dict, key: str, mirror: str | None, usual: int) -> str:
    dataset.setdefault("name", dataset["source"])
    given = dataset["resize"]
    source(dataset["source"]).check(dataset, key, mirror)
    drawn = dataset["resize"] != given  # by a source that makes its images at their final size
    if dataset["resize"] is None:
        dataset["resize"] = usual
    if dataset["crop"] is None:
        dataset["crop"] = dataset["resize"]
    elif dataset["crop"] > dataset["resize"]:
        raise ConfigError(
            f"{key}.crop: {dataset['crop']} px is larger than resize ({dataset['resize']} px); lower it"
        )
    if (stretch := dataset["stretch"]) and stretch[0] >= stretch[1]:
        raise ConfigError(
            f"{key}.stretch: {stretch} goes from light to dark; write the smaller number first"
        )
    name, resize, crop = (dataset[part] for part in ("name", "resize", "crop"))
    if drawn or resize == crop == USUAL_SIDE:
        return name
    return f"{name}-{resize}px" if crop == resize else f"{name}-{resize}px-crop{crop}"


def check_size(image_size: int, size_key: str, dataset: dict, key: str) -> None:
    """The model must not see more of an image than a store holds.

    Raises:
        ConfigError: it would.
    """
    if image_size > dataset["crop"]:
        raise ConfigError(
            f"{size_key}: {image_size} px, but {key}.crop stores "
            f"{dataset['crop']} px; raise {key}.crop and {key}.resize, or lower this"
        )
