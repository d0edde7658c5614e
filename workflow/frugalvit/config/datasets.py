"""A study's datasets: their settings checked and completed."""

from frugalvit.data.sources.all_sources import source
from frugalvit.errors import ConfigError


def collect_datasets(config: dict, mirror: str | None) -> dict[str, dict]:
    """The study's datasets by name, their settings checked and completed; its own first."""
    found: dict[str, dict] = {}
    pretrain = config["base"]["pretrain"] if config["base"]["source"] == "pretrain" else None
    parts = [("dataset", config["dataset"])]
    if pretrain:
        parts.append(("base.pretrain.dataset", pretrain["dataset"]))
    for key, dataset in parts:
        _complete_dataset(dataset, key, mirror)
        if found.get(dataset["name"], dataset) != dataset:
            raise ConfigError(
                f"{key}.name: two different datasets are named '{dataset['name']}'; give it its own name"
            )
        found[dataset["name"]] = dataset
    return found


def _complete_dataset(dataset: dict, key: str, mirror: str | None) -> None:
    dataset.setdefault("name", dataset["source"])
    source(dataset["source"]).check(dataset, key, mirror)
    if dataset["crop"] is None:
        dataset["crop"] = dataset["resize"]
    elif dataset["crop"] > dataset["resize"]:
        raise ConfigError(
            f"{key}.crop: {dataset['crop']} px is larger than resize ({dataset['resize']} px); lower it"
        )


def check_sizes(config: dict, datasets: dict[str, dict]) -> None:
    """The model must not see more of an image than a store holds."""
    for key, dataset in zip(("dataset", "base.pretrain.dataset"), datasets.values()):
        if config["base"]["image_size"] > dataset["crop"]:
            raise ConfigError(
                f"base.image_size: {config['base']['image_size']} px, but {key}.crop stores "
                f"{dataset['crop']} px; raise {key}.crop and {key}.resize, or lower this"
            )
