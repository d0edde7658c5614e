"""A study's datasets: their settings checked and completed."""

from frugalvit.config.bases import resized_side, size_key
from frugalvit.data.sources.all_sources import source
from frugalvit.errors import ConfigError

USUAL_SIDE = 256  # px, whose folder has the dataset's bare name


def collect_datasets(config: dict, mirror: str | None) -> dict[str, dict]:
    """The study's datasets by their folder under data/, checked and completed; its own first.

    The folder has the dataset's name, and the size where it is not the usual one, so that studies of
    another `image_size` do not overwrite each other's images.
    """
    found: dict[str, dict] = {}
    pretrain = config["base"]["pretrain"] if config["base"]["source"] == "pretrain" else None
    parts = [("dataset", config["dataset"])]
    if pretrain:
        parts.append(("base.pretrain.dataset", pretrain["dataset"]))
    for key, dataset in parts:
        folder = _complete_dataset(dataset, key, mirror, resized_side(config["base"]))
        others = [other for other in found.values() if other["name"] == dataset["name"]]
        if others not in ([], [dataset]):
            raise ConfigError(
                f"{key}.name: two different datasets are named '{dataset['name']}'; give it its own name"
            )
        found[folder] = dataset
    return found


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


def check_sizes(config: dict, datasets: dict[str, dict]) -> None:
    """The model must not see more of an image than a store holds."""
    for key, dataset in zip(("dataset", "base.pretrain.dataset"), datasets.values()):
        if config["base"]["image_size"] > dataset["crop"]:
            raise ConfigError(
                f"{size_key(config['base'])}: {config['base']['image_size']} px, but {key}.crop stores "
                f"{dataset['crop']} px; raise {key}.crop and {key}.resize, or lower this"
            )
