"""A study: its configuration, validated, and expanded into experiments and runs."""

import copy
from dataclasses import dataclass
from pathlib import Path

from frugalvit.config.experiments import (
    Experiment,
    Run,
    expand,
    run_settings,
)
from frugalvit.config.schema import (
    load_schema,
    merge,
    validate,
)
from frugalvit.data.mirror import find_mirror
from frugalvit.data.view_sets import PLAIN, view_set_name
from frugalvit.errors import ConfigError

BASE = "base"  # what an experiment says that starts from no other
PRETRAIN_SPLITS = "splits-pretrain"  # folder of the pretraining dataset's splits


@dataclass(frozen=True)
class Study:
    """A validated study; everything the workflow's rules look up."""

    name: str
    config: dict
    mirror: str | None
    datasets: dict[str, dict]  # name -> settings; the study's own first
    split_sets: dict[str, dict]  # folder of splits -> settings
    pretraining: dict | None  # settings of the run that makes the base
    experiments: dict[str, Experiment]
    runs: dict[str, Run]

    @property
    def dataset(self) -> str:
        """Name of the study's dataset."""
        return next(iter(self.datasets))

    @property
    def final_runs(self) -> list[str]:
        """Every run that is tested."""
        return [run for experiment in self.experiments.values() for run in experiment.final_runs]

    @property
    def search_runs(self) -> list[str]:
        """Every run of a grid search."""
        return [run for experiment in self.experiments.values() for run in experiment.search_runs]

    @property
    def exit_runs(self) -> list[str]:
        """Runs with early exits."""
        return [
            run
            for experiment in self.experiments.values()
            if experiment.exits
            for run in experiment.final_runs
        ]

    @property
    def token_runs(self) -> list[str]:
        """Runs whose tokens halt, merge or are pruned."""
        return [
            run
            for experiment in self.experiments.values()
            if experiment.tokens
            for run in experiment.final_runs
        ]

    @property
    def training_free_runs(self) -> list[str]:
        """Runs that are another run's weights, used in another way."""
        return [run for run in self.token_runs if not self.runs[run].settings["schedule"]]

    @property
    def grids(self) -> list[str]:
        """Experiments with a grid search."""
        return [name for name, experiment in self.experiments.items() if experiment.points]

    @property
    def view_sets(self) -> dict[str, dict]:
        """Cached view sets by name: `views` (0: the plain view) and `augment`."""
        found = {PLAIN: {"views": 0, "augment": {}}}
        for run in self.runs.values():
            for settings in run.candidates or (run.settings,):
                name = view_set_name(settings)
                if name != PLAIN:
                    augment = settings["schedule"][0]["augment"]
                    found[name] = {"views": settings["views"], "augment": augment}
        return found

    @property
    def base_stamp(self) -> list | None:
        """Name, size and date of the base's weights file, where it is one."""
        base = self.config["base"]
        if base["source"] != "file":
            return None
        path = find_file(base["file"], self.mirror, "base.file")
        return [path.name, path.stat().st_size, int(path.stat().st_mtime)]

    @property
    def trained_on(self) -> list[str]:
        """Source splits whose images may train."""
        swapped = any(splits["swap_train_test"] for splits in self.split_sets.values())
        return ["train", "test"] if swapped else ["train"]

    def dataset_of(self, splits: str) -> str:
        """Name of the dataset that a folder of splits divides."""
        return list(self.datasets)[-1] if splits == PRETRAIN_SPLITS else self.dataset

    @property
    def shown(self) -> list[str]:
        """Experiments that figures show."""
        return self.config["figures"]["experiments"] or list(self.experiments)


def load_study(config: dict) -> Study:
    """Validate and expand a configuration.

    Raises:
        ConfigError: one line that names the key and the remedy.
    """
    config = validate(copy.deepcopy(config))
    for part, key in ((config["dataset"], "path"), (config["base"], "file")):
        if part[key] and part[key].startswith("~"):
            part[key] = str(Path(part[key]).expanduser())
    mirror = find_mirror(config)
    if mirror and not Path(mirror).is_dir():
        raise ConfigError(f"mirror: no folder '{mirror}'; correct it, or set it to null")
    datasets = _datasets(config, mirror)
    _check_base(config["base"], mirror)
    _check_sizes(config, datasets)
    split_sets = {"splits": config["splits"]}
    for name, changes in config["split_variants"].items():
        split_sets[f"splits-{name}"] = merge(config["splits"], changes)
    pretraining = None
    if config["base"]["source"] == "pretrain":
        if PRETRAIN_SPLITS in split_sets:
            raise ConfigError(
                "split_variants.pretrain: this name is the base's own; choose another"
            )
        changes = config["base"]["pretrain"]["splits"]
        split_sets[PRETRAIN_SPLITS] = merge(validate({}, "splits"), changes)
        pretraining = pretraining_run(config)

    experiments, runs = {}, {}
    expanded: dict[str, tuple[Experiment, dict[str, Run]]] = {}
    for name in _sources_first(config["experiments"]):
        raw = config["experiments"][name]
        if raw.get("from") == BASE:
            del raw["from"]
        expanded[name] = expand(name, raw, config, expanded)
    for name in config["experiments"]:
        experiments[name] = expanded[name][0]
        runs.update(expanded[name][1])
    for index, name in enumerate(config["figures"]["experiments"] or []):
        if name not in experiments:
            raise ConfigError(
                f"figures.experiments[{index}]: no experiment '{name}'; "
                f"use one of: {', '.join(experiments)}"
            )
    return Study(
        name=config["study"],
        config=config,
        mirror=mirror,
        datasets=datasets,
        split_sets=split_sets,
        pretraining=pretraining,
        experiments=experiments,
        runs=runs,
    )


def _sources_first(raw: dict[str, dict]) -> list[str]:
    """Names of experiments in an order in which each comes after those that it builds on."""
    if BASE in raw and any(entry.get("from") == BASE for entry in raw.values()):
        raise ConfigError(f"experiments.{BASE}: the name of the pretrained base; choose another")
    ordered: list[str] = []

    def place(name: str, chain: list[str]) -> None:
        if name in ordered:
            return
        for key in ("from", "baseline"):
            other = raw[name].get(key)
            if other is None or (key == "from" and other == BASE):
                continue
            if other not in raw:
                raise ConfigError(
                    f"experiments.{name}.{key}: no experiment '{other}'; "
                    f"use one of: {', '.join(known for known in raw if known != name)}"
                )
            if other in (*chain, name):
                raise ConfigError(
                    f"experiments.{name}.{key}: leads back to itself "
                    f"({' from '.join([*chain, name, other])})"
                )
            place(other, [*chain, name])
        ordered.append(name)

    for name in raw:
        place(name, [])
    return ordered


def holds_results_only(study: Study, folder: Path) -> bool:
    """Whether `folder` has a study's summary, but neither its images nor any weights.

    So looks a fresh clone that holds the committed CSV files of a study.
    """
    results = folder / "results" / study.name
    return (
        (results / "summary.csv").exists()
        and not (folder / "data" / study.dataset / "store" / "index.csv").exists()
        and not any(results.rglob("*.safetensors"))
    )


def _datasets(config: dict, mirror: str | None) -> dict[str, dict]:
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


def _check_sizes(config: dict, datasets: dict[str, dict]) -> None:
    """The model must not see more of an image than a store holds."""
    for key, dataset in zip(("dataset", "base.pretrain.dataset"), datasets.values()):
        if config["base"]["image_size"] > dataset["crop"]:
            raise ConfigError(
                f"base.image_size: {config['base']['image_size']} px, but {key}.crop stores "
                f"{dataset['crop']} px; raise {key}.crop and {key}.resize, or lower this"
            )


def _check_base(base: dict, mirror: str | None) -> None:
    source = base["source"]
    needs = {"torchvision": "model", "hub": "repository", "file": "file", "pretrain": "pretrain"}
    if source in needs and not base[needs[source]]:
        raise ConfigError(f"base.{needs[source]}: missing; base.source {source} needs it")
    if source == "file":
        find_file(base["file"], mirror, "base.file")
    architecture = base["architecture"] or {}
    if source in ("pretrain", "random"):
        known = load_schema()["$defs"]["base"]["properties"]["architecture"]["properties"]
        for key in known:
            if key not in architecture:
                raise ConfigError(
                    f"base.architecture.{key}: missing; base.source {source} needs it"
                )
        if architecture["hidden_dim"] % architecture["num_heads"]:
            raise ConfigError(
                f"base.architecture.num_heads: {architecture['num_heads']} heads do not divide "
                f"hidden_dim {architecture['hidden_dim']}; choose a divisor"
            )
    patch = architecture.get("patch_size")
    if patch and base["image_size"] % patch:
        raise ConfigError(
            f"base.image_size: {base['image_size']} px is no multiple of the patch size {patch}; "
            f"use {base['image_size'] // patch * patch or patch}"
        )
    ready = base["pretrain"] and base["pretrain"]["ready_made"]
    if source == "pretrain" and ready and not Path(ready).is_file():
        raise ConfigError(
            f"base.pretrain.ready_made: no file '{ready}'; correct the path, or null pretrains anew"
        )


def pretraining_run(config: dict) -> dict:
    """Settings of the run that makes the base: `training` defaults, the pretraining's own changes."""
    pretrain = config["base"]["pretrain"]
    training = merge(validate({}, "training"), pretrain["training"])
    phase = {"train": "all", "epochs": pretrain["epochs"]}
    settings = run_settings("pretrain", pretrain["seed"], training, [phase])
    base = {key: config["base"][key] for key in ("architecture", "image_size", "mean", "std")}
    return settings | {"dataset": pretrain["dataset"], "splits": pretrain["splits"], "base": base}
