"""What a job is told of the configuration: what it depends on, and nothing else of it."""

from collections import Counter
from typing import Any

from frugalvit.config.experiments import shape_of
from frugalvit.config.images import asked_of_images
from frugalvit.config.study import Study
from frugalvit.methods import registry

SQUARE = ("resize", "crop", "max_pixels", "stretch")  # fields of `data.arrays.Square`


def training(study: Study, run: str) -> dict[str, Any]:
    """Everything that a run's training depends on."""
    own = study.runs[run]
    return {
        "run": own.id,
        "experiment": own.experiment,
        "settings": own.settings,
        "candidates": list(own.candidates),
        "views": own.feature_sets,
    }


def square(study: Study) -> dict[str, Any]:
    """How the images of the study's store are cut, for the cards of its runs."""
    dataset = study.datasets[study.dataset]
    return {key: dataset[key] for key in SQUARE}


def checked_experiments(study: Study, base: str | None = None) -> dict[str, dict[str, Any]]:
    """What the early check reads of each experiment: base, shape, schedule, how it is evaluated.

    Args:
        study: its configuration.
        base: folder of a base: of the experiments that start from it alone.
    """
    checked = {}
    for name, experiment in study.experiments.items():
        if base not in (None, experiment.base):
            continue
        first = experiment.final_runs[0]
        settings = study.runs[first].settings
        checked[name] = {
            "base": experiment.base,
            "settings": {
                **shape_of(settings, study.method_of(first)),
                "keep_blocks": experiment.keep_blocks,
            },
            "schedule": [
                {key: phase[key] for key in ("train", "epochs")} for phase in experiment.schedule
            ],
            "evaluation": experiment.evaluation,
        }
    return checked


def counted_experiments(study: Study) -> dict[str, dict[str, Any]]:
    """What the count of images reads: how they are divided, and what each experiment asks of them."""
    return {
        "split_sets": {name: study.split_sets[name] for name in study.used_splits},
        "experiments": asked_of_images(study.experiments, study.config["evaluation"]),
    }


def summarized_runs(study: Study) -> list[dict[str, Any]]:
    """What names each run in the summary, what it is compared with, and what was asked of it."""
    rows = []
    several = len({experiment.base for experiment in study.experiments.values()}) > 1
    for run in study.runs.values():
        experiment = study.experiments[run.experiment]
        base = study.bases[experiment.base]
        compared = run.source
        if not compared and experiment.baseline:
            compared = f"{experiment.baseline}-s{run.seed}"
        rows.append(
            {
                "run": run.id,
                "experiment": run.experiment,
                "seed": run.seed,
                "point": run.point,
                "method": experiment.method,
                "compared": compared,
                "how": experiment.evaluation,
                **({"base": base.name, "image_size": base.image_size} if several else {}),
            }
        )
    return rows


def compared_runs(study: Study) -> list[str]:
    """Runs that started from another or are compared with one, and these others."""
    pairs = [(run["run"], run["compared"]) for run in summarized_runs(study)]
    return sorted({run for own, other in pairs if other for run in (own, other)})


def read_predictions_of(study: Study) -> list[str]:
    """Runs whose predictions the summary reads: all that are tested where they may say "unsure"."""
    return study.final_runs if study.abstains else compared_runs(study)


def abstaining(study: Study) -> dict[str, Any]:
    """What the study asks of models that may say "unsure", and of which runs; empty where nothing."""
    asked = study.config["evaluation"]["abstain"]
    return {**asked, "runs": study.final_runs} if asked else {}


def point_identity(study: Study, run: str) -> dict[str, Any]:
    """What names the run of an operating point, and how its points are made."""
    experiment = study.experiment_of(run)
    return {
        "experiment": experiment.name,
        "run": run,
        "seed": study.runs[run].seed,
        "method": experiment.method,
        "evaluation": experiment.evaluation,
        "splits": experiment.splits,
    }


def evaluated(study: Study, run: str) -> dict[str, Any]:
    """What an evaluation depends on that is the run's own."""
    experiment = study.experiment_of(run)
    return {
        "experiment": experiment.name,
        "how": experiment.evaluation,
        "splits": study.tested_splits(run),
        "features": features_folder(experiment.base) if study.runs[run].head_only else None,
    }


def features_folder(base: str) -> str:
    """Folder, under the study's results, of the features of a base at a size."""
    return base.replace("base", "features", 1)


def probes_table(base: str) -> str:
    """Name of the table of what each block of a base at a size knows."""
    return base.replace("base", "probes", 1)


def search(study: Study, experiment: str) -> dict[str, Any]:
    """The grid's points, and the point and seed of each search run."""
    searched = study.experiments[experiment]
    runs = [study.runs[run] for run in searched.search_runs]
    return {
        "points": searched.points,
        "runs": [
            {"run": run.id, "point": run.point, "seed": run.seed, "keep": run.settings["keep"]}
            for run in runs
        ],
    }


def answering(study: Study) -> dict[str, Any]:
    """Experiments that an answer may be one of -> their final runs; settings that save nothing.

    They are those of the set of splits that most experiments have, the study's own first: accuracies on
    other test images do not compare.
    """
    counts = Counter(one.splits for one in study.experiments.values())
    splits = max(counts, key=lambda name: (counts[name], name == "splits"))
    own = [one for one in study.experiments.values() if one.splits == splits]
    return {
        "splits": splits,
        "runs": {one.name: one.final_runs for one in own},
        "masked": {name: list(registry.method(name).masked) for name in study.methods},
    }
