"""The studies that are killed: the embedded one, and a cut of it that takes a minute."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.workflows import ROOT, STUDY, copy_workflow

CONFIG = ROOT / "config" / "config.yaml"
HEAD, ALL = {"train": "head", "epochs": 4}, {"train": "all", "epochs": 6}


@dataclass(frozen=True)
class Study:
    """A study, and what is asked of Snakemake for it."""

    config: Callable[[], dict]
    targets: tuple[str, ...] = ()

    def write(self, folder: Path, cores: int) -> list[str]:
        """Make a copy of the workflow with this study; returns Snakemake's arguments."""
        if not (folder / STUDY).exists():
            shutil.rmtree(folder, ignore_errors=True)  # a copy that was not finished
            folder.mkdir(parents=True)
            copy_workflow(folder)
            (folder / STUDY).write_text(yaml.safe_dump(self.config(), sort_keys=False))
        options = ["--configfile", STUDY, "--cores", str(cores), "--resources", "gpu=0"]
        return [*options, "--rerun-incomplete", "--", *(self.targets or ["all"])]

    def results(self, folder: Path) -> Path:
        """The results of a copy."""
        return folder / "results" / self.config()["study"]


def embedded() -> dict:
    """The study that ships."""
    return yaml.safe_load(CONFIG.read_text())


def cut() -> dict:
    """One seed, a tenth of the images, one experiment of each kind that trains."""
    study = embedded()
    study["seeds"] = [0]
    study["dataset"]["digits"] |= {"train": 600, "valid": 300, "test": 200}
    early = {"method": "early_exit", "from": "tuned", "schedule": [HEAD | {"train": "exits"}, ALL]}
    rates = {"lr": [0.001, 0.01]}
    halting = {"target_gflops": 0.0105}
    study["experiments"] = {
        "tuned": {"method": "fine_tune", "schedule": [HEAD, ALL]},
        "search": {"method": "fine_tune", "schedule": [HEAD], "grid": {"parameters": rates}},
        "early": early | {"targets": {"budget": [0.6]}},
        "avit": {"method": "avit", "from": "tuned", "schedule": [ALL], "halting": halting},
        "merged": {"method": "token_merging", "from": "tuned", "r": [2]},
    }  # fmt: skip
    return study


STUDIES = {
    "embedded": Study(embedded),
    "cut": Study(cut, ("results/digits/summary.csv", "results/digits/figures/schedules.svg")),
}
