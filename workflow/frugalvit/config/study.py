"""A study: its configuration, validated, and expanded into experiments and runs."""

import copy
from dataclasses import dataclass
from pathlib import Path

from frugalvit.config.abstaining_splits import check_calibration
from frugalvit.config.bases import NONE, base_key, check_base, collect_bases, resized_side
from frugalvit.config.datasets import collect_datasets
from frugalvit.config.expansion import expanded
from frugalvit.config.experiments import Experiment, Run, shape_of
from frugalvit.config.grids import check_runs
from frugalvit.config.images import asked_of_images, check_own_images
from frugalvit.config.matrix import spread_out
from frugalvit.config.networks import begins_with, check_weights, network_name
from frugalvit.config.reading import check_extent
from frugalvit.config.schema import merge, validate
from frugalvit.config.sized_bases import (
    FOLDER,
    Pretraining,
    SizedBase,
    collect_pretrainings,
    folder_of,
    sized_bases,
)
from frugalvit.data.mirror import at_home, find_mirror
from frugalvit.data.seen import View, too_little
from frugalvit.data.view_sets import PLAIN, view_set_name
from frugalvit.errors import ConfigError, DataError
from frugalvit.methods import registry
from frugalvit.methods.method import Method

REFERENCE = "reference"  # folder under results/ of what is kept, and so no study's name


@dataclass(frozen=True)
class Study:
    """A validated study; everything the workflow's rules look up."""

    name: str
    config: dict
    mirror: str | None
    datasets: dict[str, dict]  # folder under data/ -> settings; the study's own first
    split_sets: dict[str, dict]  # folder of splits -> settings
    bases: dict[str, SizedBase]  # folder under the results -> base at a size
    pretrainings: dict[str, Pretraining]  # folder of a base at its own size -> what makes it
    experiments: dict[str, Experiment]
    runs: dict[str, Run]

    @property
    def dataset(self) -> str:
        """Folder of the study's dataset."""
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
    def methods(self) -> list[str]:
        """Methods of the experiments, in the order of their registry."""
        used = {experiment.method for experiment in self.experiments.values()}
        return [name for name in registry.METHODS if name in used]

    @property
    def based(self) -> bool:
        """Whether there is a base."""
        return self.config["base"]["source"] != NONE

    def experiment_of(self, run: str) -> Experiment:
        """The experiment that a run is of."""
        return self.experiments[self.runs[run].experiment]

    def method_of(self, run: str) -> Method:
        """The method of a run."""
        return registry.method(self.experiment_of(run).method)

    def starts_from_base(self, run: str) -> bool:
        """Whether a run starts from the base or another run, not from a network of its own."""
        return self.method_of(run).based(self.runs[run].settings)

    def pretraining_of(self, base: str) -> str | None:
        """Folder of the pretraining whose weights become a base at a size; None where none does."""
        name = self.bases[base].name
        folder = folder_of(self.config, name, self.config["bases"][name]["image_size"])
        return folder if folder in self.pretrainings else None

    def base_of(self, run: str) -> str:
        """Folder of the base, at its size, that a run starts from, be it through another."""
        return self.experiment_of(run).base

    def splits_of(self, run: str) -> str:
        """Folder of the splits that a run goes by."""
        return self.experiment_of(run).splits

    def runs_of(self, method: str) -> list[str]:
        """Every run of a method, those of searches too."""
        return [run for run in self.runs if self.experiment_of(run).method == method]

    @property
    def adaptive_methods(self) -> list[str]:
        """Methods whose runs have operating points."""
        return [name for name in self.methods if registry.method(name).adaptive]

    @property
    def adaptive_runs(self) -> list[str]:
        """Runs that have operating points, method by method."""
        return [run for method in self.adaptive_methods for run in self.runs_of(method)]

    @property
    def plain_runs(self) -> list[str]:
        """Tested runs without operating points: their networks are the base, whole or cut."""
        return [run for run in self.final_runs if not self.method_of(run).adaptive]

    @property
    def adopted_runs(self) -> list[str]:
        """Runs that are another run's weights, used in another way."""
        return [run for run in self.runs if not self.method_of(run).trains]

    @property
    def trained_runs(self) -> list[str]:
        """Runs that are not adopted from another run."""
        return [run for run in self.runs if self.method_of(run).trains]

    def twins_of(self, run: str) -> list[str]:
        """Search runs of the same seed, whose weights a final run may reuse."""
        own = self.runs[run]
        found = self.experiments[own.experiment].search_runs
        return [twin for twin in found if self.runs[twin].seed == own.seed]

    def tested_splits(self, run: str) -> list[str]:
        """Splits that a run answers; a search run only validation images, for no test may guide it."""
        if self.runs[run].point is not None:
            return ["valid"]
        own = list(self.method_of(run).splits)
        if self.abstains and "calibration" not in own:
            own.insert(0, "calibration")
        return own

    @property
    def abstains(self) -> bool:
        """Whether its runs may say "unsure"."""
        return self.config["evaluation"]["abstain"] is not None

    @property
    def used_splits(self) -> list[str]:
        """Folders of splits that experiments go by."""
        return sorted({experiment.splits for experiment in self.experiments.values()})

    @property
    def measured_splits(self) -> list[str]:
        """Folders of the splits whose images time is measured on."""
        adaptive = {self.splits_of(run) for run in self.adaptive_runs}
        return sorted(adaptive or self.used_splits[:1])

    def network_of(self, run: str) -> str:
        """Place of the table of cost of the network that a plain run shares with others."""
        experiment = self.experiment_of(run)
        keep = experiment.keep_blocks
        precision = self.runs[run].settings["precision"]
        name = f"cost-first_{keep}" if keep else "cost"
        if not self.starts_from_base(run):
            name = f"cost-of-{experiment.name}"
        name = f"{experiment.base}/{name}"
        return name if precision == "auto" else f"{name}-{precision}"

    @property
    def plain_networks(self) -> dict[str, dict]:
        """What decides each network that plain runs share, by the place of its table of cost."""
        return {self.network_of(run): self._network(run) for run in self.plain_runs}

    def _network(self, run: str) -> dict:
        precision = self.runs[run].settings["precision"]
        experiment = self.experiment_of(run)
        network = {
            "base": experiment.base if self.based else None,
            "keep_blocks": experiment.keep_blocks,
            "precision": precision,
        }
        if self.starts_from_base(run):
            return network
        return {**network, "made": shape_of(self.runs[run].settings, self.method_of(run))}

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

    def splits_reading(self, views: str, base: str = FOLDER) -> list[str]:
        """Folders of the splits whose training images a base reads under a cached view set."""
        return sorted(
            {
                self.splits_of(run)
                for run, own in self.runs.items()
                if views in own.feature_sets and self.base_of(run) == base
            }
        )

    @property
    def downloads(self) -> dict[str, dict]:
        """The datasets by name: files are fetched once for all sizes that are made of them."""
        return {dataset["name"]: dataset for dataset in self.datasets.values()}

    def dataset_of(self, splits: str) -> str:
        """Folder of the dataset that a folder of splits divides."""
        made = (made.dataset for made in self.pretrainings.values() if made.splits == splits)
        return next(made, self.dataset)

    def view_of(self, splits: str) -> View:
        """How much of the images that a folder of splits divides the models see."""
        dataset = self.datasets[self.dataset_of(splits)]
        for made in self.pretrainings.values():
            if made.splits == splits:
                base, size_key = made.settings["base"], f"{made.key}.image_size"
                key, usual = (
                    f"{made.key}.pretrain.dataset",
                    resized_side({**base, "source": "pretrain"}),
                )
                return View(base["image_size"], dataset["resize"], usual, key, size_key)
        largest = max(self.bases.values(), key=lambda base: base.image_size)
        usual = max(resized_side(base.settings) for base in self.bases.values())
        return View(largest.image_size, dataset["resize"], usual, "dataset", largest.key)

    def small_views(self, policy: str) -> list[str]:
        """A line for each dataset of whose images the models see little, where that is the policy."""
        found = {
            too_little(self.view_of(splits)): None
            for splits, settings in self.split_sets.items()
            if settings["checks"]["small_view"] == policy
        }
        return [line for line in found if line]

    @property
    def made_methods(self) -> list[str]:
        """Methods of runs whose networks are their own."""
        made = {
            self.experiment_of(run).method for run in self.runs if not self.starts_from_base(run)
        }
        return [name for name in self.methods if name in made]

    @property
    def networks(self) -> dict[str, dict]:
        """Weights that runs' own networks begin with, by the name of their folder."""
        found = (begins_with(run.settings) for run in self.runs.values())
        return {network_name(one): one for one in found if one}

    def network_weights_of(self, run: str) -> str | None:
        """The folder's name of the weights that a run's own network begins with."""
        own = begins_with(self.runs[run].settings)
        return network_name(own) if own else None

    @property
    def shown(self) -> list[str]:
        """Experiments that figures show."""
        return self.config["figures"]["experiments"] or list(self.experiments)


def load_study(config: dict) -> Study:
    """Validate and expand a configuration; count the images of a folder.

    Raises:
        ConfigError, DataError: one line that names the key and the remedy.
    """
    try:
        return _loaded(config)
    except OSError as error:
        raise DataError(
            f"{error.filename}: {error.strerror}; correct the path, or who may read it"
        ) from None


def _loaded(config: dict) -> Study:
    check_extent(config, "the study")
    config = validate(spread_out(copy.deepcopy(config)))
    check_runs(config)
    if config["study"] == REFERENCE:
        raise ConfigError(
            f"study: results/{REFERENCE} holds the results that are kept; choose another name"
        )
    collect_bases(config)
    files = [(base, "file") for base in config["bases"].values()]
    for part, key in ((config["dataset"], "path"), *files):
        if part[key] and part[key].startswith("~"):
            part[key] = at_home(part[key])
    mirror = find_mirror(config)
    if mirror and not Path(mirror).is_dir():
        raise ConfigError(f"mirror: no folder '{mirror}'; correct it, or set it to null")
    for name, base in config["bases"].items():
        check_base(base, mirror, base_key(name))
    check_weights(config["experiments"], mirror)
    bases = sized_bases(config)
    datasets, pretrained_on = collect_datasets(config, mirror, bases)
    split_sets = {"splits": config["splits"]}
    for name, changes in config["split_variants"].items():
        split_sets[f"splits-{name}"] = merge(config["splits"], changes)
    pretrainings = collect_pretrainings(config, pretrained_on)
    for made in pretrainings.values():
        if made.splits in split_sets:
            raise ConfigError(
                "split_variants.pretrain: this name is the base's own; choose another"
            )
        changes = config["bases"][made.name]["pretrain"]["splits"]
        split_sets[made.splits] = merge(validate({}, "splits"), changes)

    experiments, runs = expanded(config, bases)
    for index, name in enumerate(config["figures"]["experiments"] or []):
        if name not in experiments:
            raise ConfigError(
                f"figures.experiments[{index}]: no experiment '{name}'; "
                f"use one of: {', '.join(experiments)}"
            )
    check_calibration(config, split_sets, experiments.values())
    asked = asked_of_images(experiments, config["evaluation"])
    check_own_images(next(iter(datasets.values())), split_sets, asked)
    study = Study(
        name=config["study"],
        config=config,
        mirror=mirror,
        datasets=datasets,
        split_sets=split_sets,
        bases=bases,
        pretrainings=pretrainings,
        experiments=experiments,
        runs=runs,
    )
    for line in study.small_views("error"):
        raise ConfigError(line)
    return study
