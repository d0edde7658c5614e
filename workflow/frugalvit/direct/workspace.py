"""The steps before a run, each made where it is missing: what the rules make, in their places.

A step is taken from an earlier call's folder, or from the study's own, where its card says that it was
made of the same; else it is made anew. Nothing is written outside of the workspace's folder.
"""

import copy
import json
import logging
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from frugalvit.config import job_params
from frugalvit.config.bases import base_key
from frugalvit.config.study import Study
from frugalvit.data.mirror import find_mirror
from frugalvit.data.prepare import made_from, prepare
from frugalvit.data.sources.listing import download
from frugalvit.data.split_files import write_splits
from frugalvit.data.store import Store
from frugalvit.devices.fabric import Fabric, loader_workers, make_fabric, training_fabric
from frugalvit.errors import renamed
from frugalvit.files import read_json, sha256_file, write_json
from frugalvit.jobs.processes import launch
from frugalvit.methods.base_checks import check_bases
from frugalvit.methods.image_checks import check_images
from frugalvit.methods.pretraining import pretrain
from frugalvit.methods.trained import MethodRecipe
from frugalvit.models.export import export_base
from frugalvit.models.networks.network_weights import export_network
from frugalvit.training.freezing import all_freeze_reports
from frugalvit.training.lengths import with_lengths
from frugalvit.training.rates import with_rates
from frugalvit.training.runs import RunFiles, train_run
from frugalvit.training.view_files import write_views

log = logging.getLogger(__name__)
WEIGHTS, CARD = "weights.safetensors", "card.json"


@dataclass(frozen=True)
class Workspace:
    """A study's folders, `data/` and `results/{study}/`, of one call.

    Attributes:
        study: cut down to what is to be made.
        out: that holds `data/` and `results/`.
        home: where the study's own lie.
        gpus: to use; none where 0.
        threads: of the CPU.
        code: digest of what trains.
    """

    study: Study
    out: Path
    home: Path
    gpus: int
    threads: int
    code: str
    _divided: dict[str, Path] = field(default_factory=dict)  # folders of splits made by this call
    _exported: dict[str, Path] = field(default_factory=dict)  # and of bases

    @property
    def results(self) -> Path:
        """Folder of the study's results."""
        return self.out / "results" / self.study.name

    def run(self, run: str) -> Path:
        """Make a run and all that it needs; returns its folder.

        Raises:
            FrugalError: as the rules' jobs raise it.
        """
        own = self.study.runs[run]
        self.checked  # noqa: B018 - before anything costly
        splits = self.splits(self.study.splits_of(run))
        source, teacher = (
            self.earlier(other) if other else None for other in (own.source, own.teacher)
        )
        files = RunFiles(
            folder=self.results / "runs" / run,
            store=self.store,
            assignments=splits / "assignments.csv",
            base=self.base(run),
            features={views: self.views(views, run) for views in own.feature_sets},
            source=source,
            teacher=teacher,
            network=self.network(run),
        )
        settings = own.settings
        fabric = self._training_fabric(settings["precision"])
        launch(
            fabric,
            train_run,
            run,
            settings,
            files,
            MethodRecipe(settings["method"]),
            batch_size=self.study.config["evaluation"]["batch_size"],
            workers=self._workers(fabric),
            code=self.code,
            square=job_params.square(self.study),
            halve=self._halve,
        )
        return files.folder

    def earlier(self, run: str) -> Path:
        """A run that another needs, made here or taken from the study's own."""
        made = [
            folder / "results" / self.study.name / "runs" / run for folder in (self.out, self.home)
        ]
        return next((folder for folder in made if self._is_made(folder, run)), None) or self.run(
            run
        )

    def _is_made(self, folder: Path, run: str) -> bool:
        """Whether a folder holds a run of these settings, on these images and this base."""
        if not (folder / CARD).is_file() or not (folder / WEIGHTS).is_file():
            return False
        own, card = self.study.runs[run], read_json(folder / CARD)
        if not _trained_with(own.settings, card):
            return False
        made = {
            "index": self.store / "index.csv",
            "assignments": self.splits(self.study.splits_of(run)) / "assignments.csv",
            "base": (base := self.base(run)) and base / WEIGHTS,
            "network": self.network(run),
            "teacher": own.teacher and self.earlier(own.teacher) / WEIGHTS,
            "source": own.source and self.earlier(own.source) / WEIGHTS,
        }
        return card["sha256"] == {name: sha256_file(file) for name, file in made.items() if file}

    @cached_property
    def store(self) -> Path:
        """Folder of the study's images."""
        return self._store(self.study.dataset)

    def _store(self, dataset: str) -> Path:
        settings = self.study.datasets[dataset]
        wanted = made_from(settings)
        for folder in (self.out, self.home):
            store = folder / "data" / dataset / "store"
            report = store / "report.json"
            if report.is_file() and read_json(report).get("made_from") == wanted:
                return store
        store = self.out / "data" / dataset / "store"
        raw = self.out / "data" / settings["name"] / "raw"
        marker = download(settings, raw, find_mirror(self.study.config))
        write_json(raw / ".complete", marker)
        prepare(settings, raw, store, self.threads)
        return store

    def splits(self, name: str) -> Path:
        """Folder of a division of the images, made once a call."""
        if name not in self._divided:
            store = Store(self._store(self.study.dataset_of(name)))
            folder = self.results / name
            write_splits(store, self.study.split_sets[name], self.study.view_of(name), folder)
            self._divided[name] = folder
        return self._divided[name]

    @cached_property
    def checked(self) -> int:
        """Number of classes, once the images are known to be enough for the experiments."""
        store = Store(self.store)
        check_images(store.index, **job_params.counted_experiments(self.study))
        return len(store.class_names)

    def base(self, run: str) -> Path | None:
        """Folder of the base, at its size, that a run starts from, made once; None without one."""
        name = self.study.base_of(run)
        if not self.study.based:
            return None
        if name not in self._exported:
            folder, made = self.results / name, self.study.pretraining_of(name)
            with renamed("base", base_key(self.study.bases[name].name)):
                export_base(
                    self.study.bases[name].settings,
                    folder / WEIGHTS,
                    folder / CARD,
                    freeze_check=all_freeze_reports,
                    mirror=find_mirror(self.study.config),
                    cache=self.home / "data" / "weights",
                    pretrained=self._pretrained(made) if made else [],
                    pretraining=self.study.pretrainings[made].settings if made else None,
                )
            asked = job_params.checked_experiments(self.study, name)
            check_bases({name: folder}, asked, self.checked)
            self._exported[name] = folder
        return self._exported[name]

    def network(self, run: str) -> Path | None:
        """Weights that a run's own network begins with, where it has one that does."""
        name = self.study.network_weights_of(run)
        if name is None:
            return None
        folder = self.results / "networks" / name
        export_network(
            self.study.networks[name]["weights"],
            folder / WEIGHTS,
            folder / CARD,
            mirror=find_mirror(self.study.config),
            cache=self.home / "data" / "weights",
        )
        return folder / WEIGHTS

    def _pretrained(self, base: str) -> list[Path]:
        """Weights and card of a base's pretraining."""
        made = self.study.pretrainings[base]
        config, settings = self.study.config["bases"][made.name], made.settings
        if config["pretrain"]["ready_made"]:
            weights = Path(config["pretrain"]["ready_made"])
            return [weights, weights.with_name(CARD)]
        own = self.results / base / "pretraining"
        for folder in (own, self.home / "results" / self.study.name / base / "pretraining"):
            card = folder / CARD
            if card.is_file() and read_json(card)["settings"] == _plain(settings):
                return [folder / WEIGHTS, card]
        fabric = self._training_fabric(settings["precision"])
        pretrain(
            fabric,
            settings,
            settings["base"],
            own,
            self._store(made.dataset),
            self.splits(made.splits) / "assignments.csv",
            batch_size=self.study.config["evaluation"]["batch_size"],
            workers=self._workers(fabric),
            code=self.code,
            halve=self._halve,
        )
        return [own / WEIGHTS, own / CARD]

    def views(self, name: str, run: str) -> Path:
        """Folder of cached features of the base that a run starts from."""
        path, base = self.base(run), self.study.base_of(run)
        assert path is not None, "features are a base's"
        view_set = self.study.view_sets[name]
        folder = self.results / job_params.features_folder(base) / name
        used = self.study.splits_reading(name, base)
        tables = [self.splits(one) / "assignments.csv" for one in used] if view_set["views"] else []
        fabric = make_fabric(min(self.gpus, 1), self.threads, "32-true")
        batch_size = self.study.config["evaluation"]["batch_size"]
        write_views(fabric, Store(self.store), path, view_set, tables, folder, batch_size)
        return folder

    def _training_fabric(self, precision: str) -> Fabric:
        compute = self.study.config["compute"]
        granted = SimpleNamespace(
            gpu=self.gpus, gpu_asked=self.gpus, cpu_processes=compute["cpu_processes"]
        )
        return training_fabric(granted, self.threads, precision)

    @property
    def _halve(self) -> bool:
        """Whether a batch for which memory runs out is computed in parts."""
        return self.study.config["compute"]["on_memory_error"] == "halve"

    def _workers(self, fabric: Fabric) -> int:
        return loader_workers(fabric, self.study.config["compute"]["loader_workers"], self.threads)


def _trained_with(settings: dict[str, Any], card: dict[str, Any]) -> bool:
    """Whether a card is of a run of these settings, what training works out from its data apart."""
    images, layers = card["n"]["train"], card["architecture"].get("num_layers", 0)
    wanted = with_lengths(with_rates(settings, images, layers), images)
    told = copy.deepcopy(card["settings"])
    for phase in told["schedule"]:
        phase.pop("class_weights", None)
    return told == _plain(wanted)


def _plain(settings: Any) -> Any:
    """Settings as a card holds them."""
    return json.loads(json.dumps(settings, default=str))
