"""A study's datasets: their settings checked and completed."""

from pathlib import Path

from frugalvit.errors import ConfigError


def collect_datasets(config: dict, mirror: str | None) -> dict[str, dict]:
    """The study's datasets by name, their settings checked and completed; its own first."""
    found = {}
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
    source, path = dataset["source"], dataset["path"]
    dataset.setdefault("name", source)
    if source == "digits":
        # The canvas is drawn at its final size: there is nothing to resize.
        dataset["resize"] = dataset["crop"] = dataset["digits"]["canvas"]
        smallest, largest = dataset["digits"]["size"]
        if not smallest <= largest <= dataset["digits"]["canvas"]:
            raise ConfigError(
                f"{key}.digits.size: [{smallest}, {largest}] does not fit a canvas of "
                f"{dataset['digits']['canvas']} px; write [smallest, largest] within it"
            )
        for index, name in enumerate(dataset["classes"] or []):
            if name not in map(str, range(10)):
                raise ConfigError(f"{key}.classes[{index}]: unknown class '{name}'; use '0' to '9'")
    elif dataset["crop"] is None:
        dataset["crop"] = dataset["resize"]
    elif dataset["crop"] > dataset["resize"]:
        raise ConfigError(
            f"{key}.crop: {dataset['crop']} px is larger than resize ({dataset['resize']} px); lower it"
        )
    if source in ("folder", "archive") and not path:
        raise ConfigError(f"{key}.path: missing; source {source} needs the path of its {source}")
    if source == "folder" and not Path(path).is_dir():
        raise ConfigError(f"{key}.path: no folder '{path}'; correct the path")
    if source == "archive":
        if path.startswith(("http://", "https://")):
            if not dataset["sha256"]:
                raise ConfigError(
                    f"{key}.sha256: missing; an archive from the network needs its checksum"
                )
        else:
            find_file(path, mirror, f"{key}.path")


def check_sizes(config: dict, datasets: dict[str, dict]) -> None:
    """The model must not see more of an image than a store holds."""
    for key, dataset in zip(("dataset", "base.pretrain.dataset"), datasets.values()):
        if config["base"]["image_size"] > dataset["crop"]:
            raise ConfigError(
                f"base.image_size: {config['base']['image_size']} px, but {key}.crop stores "
                f"{dataset['crop']} px; raise {key}.crop and {key}.resize, or lower this"
            )


def find_file(path: str, mirror: str | None, key: str) -> Path:
    """The file at `path`, or of that name in the mirror.

    Raises:
        ConfigError: when neither exists.
    """
    places = [Path(path), *([Path(mirror) / Path(path).name] if mirror else [])]
    for place in places:
        if place.is_file():
            return place
    looked = " nor in the mirror" if mirror else " (and no mirror is set)"
    raise ConfigError(f"{key}: no file '{path}'{looked}; correct the path or fetch the file")
