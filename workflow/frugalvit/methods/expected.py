"""How long a study will take, and how much room it needs, before anything is trained.

Seconds of each rule's jobs follow from a few measured speeds, the number of images and the schedules.
Jobs that run beside each other share the sum.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from frugalvit.methods import registry
from frugalvit.models.any_model import build_model, numbers_cached
from frugalvit.training.lengths import inputs_of, stores_tokens, validates, with_lengths
from frugalvit.words import heads_alone

if TYPE_CHECKING:
    from frugalvit.config.experiments import Run
    from frugalvit.config.study import Study

HOME = Path(__file__).parents[2]  # of the library
SPAWNED = 0.7  # s until Snakemake has started a job's interpreter, and taken in its end
DECODED = 0.006  # s that an image of a file takes to decode and resize
DRAWN = 0.0003  # s that a scattered digit takes
LIGHT = 2.0  # s of a job that loads no torch
FIGURES = 5.0  # s of a job that draws
HALTING = 1.25  # of a plain step, one whose tokens halt: masks, losses, all blocks computed
EXITS = 1.1  # and one with heads after the blocks
BUSY = 0.85  # of the time, that all cores have work: some jobs wait for others
BATCHES = 3  # batch sizes at which every network is timed


@dataclass(frozen=True)
class Speeds:
    """What was measured here, on one of the study's own networks, in seconds."""

    forward: float  # an image, in a batch of evaluation
    alone: float  # an image by itself
    step: float  # an image of a training step, all blocks
    head: float  # an image of a step of a head on cached features
    start: float  # a job, until it has loaded torch
    layers: int  # blocks of the network; no time


@dataclass(frozen=True)
class Counts:
    """Images of one folder of splits."""

    train: int
    valid: int
    calibration: int
    test: int

    @property
    def all(self) -> int:
        """Of any split."""
        return self.train + self.valid + self.calibration + self.test


@dataclass(frozen=True)
class Expected:
    """The jobs of a rule."""

    rule: str
    jobs: int
    seconds: float  # of all of them together
    alone: bool = False  # nothing runs beside it


def measure_speeds(
    architecture: Mapping[str, Any], classes: int, batch: int, evaluated: int, seconds: float = 1.0
) -> Speeds:
    """Time a random network of the base's shape on random images, on the threads that torch has.

    Args:
        architecture: of the base.
        classes: of the study.
        batch: images of a training step.
        evaluated: images of an evaluation's step.
        seconds: shortest time of each measurement.
    """
    model = build_model(dict(architecture), classes)
    size = architecture["image_size"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
    head = torch.nn.Linear(architecture["hidden_dim"], classes)
    head_optimizer = torch.optim.AdamW(head.parameters(), lr=1e-6)
    many, few, one = (torch.randn(n, 3, size, size) for n in (evaluated, batch, 1))
    labels, features = torch.zeros(batch, dtype=torch.int64), torch.randn(batch, head.in_features)

    def train(
        network: Callable[[Tensor], Tensor], given: Tensor, by: torch.optim.Optimizer
    ) -> None:
        by.zero_grad()
        F.cross_entropy(network(given), labels).backward()
        by.step()

    def answer(images: Tensor) -> float:
        def call() -> None:
            with torch.inference_mode():
                model(images)

        return _seconds_of(call, seconds) / len(images)

    model.eval()
    forward, alone = answer(many), answer(one)
    model.train()
    step = _seconds_of(lambda: train(model, few, optimizer), seconds) / batch
    of_head = _seconds_of(lambda: train(head, features, head_optimizer), seconds / 4) / batch
    return Speeds(forward, alone, step, of_head, start_seconds(), architecture.get("num_layers", 0))


def start_seconds() -> float:
    """Seconds until a job has loaded what it computes with: a new process that imports the same."""
    started = time.perf_counter()
    code = f"import sys; sys.path.insert(0, {str(HOME)!r}); import frugalvit.methods.trained"
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - started + SPAWNED


def _seconds_of(call: Callable[[], None], least: float) -> float:
    """Mean seconds of a call, after one that is not counted."""
    call()
    calls, started = 0, time.perf_counter()
    while calls < 2 or time.perf_counter() - started < least:
        call()
        calls += 1
    return (time.perf_counter() - started) / calls


def training_seconds(run: "Run", counts: Counts, speeds: Speeds) -> float:
    """Of one run's training, without the start of its job."""
    layers = speeds.layers
    settings, total, fresh = with_lengths(run.settings, counts.train), 0.0, run.base_backbone
    for phase in settings["schedule"]:
        train, views = phase["train"], settings["views"] if phase["augment"] else 0
        epochs = range(phase["epochs"])
        images = sum(inputs_of(phase, epoch, counts.train) for epoch in epochs)
        validated = sum(validates(phase, epoch) for epoch in epochs) * counts.valid
        if heads_alone(train):
            heads = len(settings.get("exits", ())) if isinstance(settings.get("exits"), list) else 1
            heads = layers if settings.get("exits") == "all" else heads
            total += (images + validated / 3) * speeds.head * max(heads, 1)
            if not fresh:
                total += (counts.train * max(views, 1) + counts.valid) * speeds.forward
            continue
        share = train["blocks"] / layers if isinstance(train, dict) else 1.0
        factor = {"halting": HALTING, "exits": EXITS}
        slower = max([1.0, *(value for key, value in factor.items() if key in settings)])
        cached = share < 1 and stores_tokens(settings, phase)
        frozen = 0.0 if cached else (1 - share) * speeds.forward
        total += images * slower * (share * speeds.step + frozen)
        total += validated * slower * (speeds.forward * (share if cached else 1.0))
        seen = counts.train * max(views, 1)
        if cached:
            total += (seen + counts.valid) * (1 - share) * speeds.forward
        # A teacher answers once what is stored, else in every epoch.
        total += (seen if cached else images) * speeds.forward if run.teacher else 0.0
        fresh = False
    return total


def expected_jobs(
    study: "Study", counts: Mapping[str, Counts], of_bases: Mapping[str, Speeds], stored: bool
) -> list[Expected]:
    """The jobs of a study that has not run, in the order in which they begin.

    Args:
        study: its configuration.
        counts: images by folder of splits.
        of_bases: speeds as measured, by folder of the base.
        stored: whether the images are prepared already.
    """
    first, start = next(iter(counts.values())), next(iter(of_bases.values())).start
    evaluation, found = study.config["evaluation"], []

    def speeds(run: str) -> Speeds:
        return of_bases[study.base_of(run)]

    of_files = study.config["dataset"]["source"] != "digits"
    if not stored:
        found.append(Expected("prepare_dataset", 1, first.all * (DECODED if of_files else DRAWN)))
    light = len(study.used_splits) + 3 + len(study.grids)
    found.append(Expected("checks and tables", light, light * LIGHT))
    whole = next(iter(of_bases))
    for (base, name), how in cached_views(study).items():
        images = first.train * how["views"] if how["views"] else first.all
        rule = f"extract_features {name}" if base == whole else f"extract_features {base} {name}"
        found.append(Expected(rule, 1, start + images * of_bases[base].forward))
    made = [base for base in study.bases if study.pretraining_of(base) == base]
    for base in made:
        pretrain = study.bases[base].settings["pretrain"]
        size = pretrain["dataset"].get("digits", {}).get("train", first.train)
        total = pretrain["epochs"] * size * of_bases[base].step
        if not pretrain["ready_made"]:
            found.append(Expected("pretrain_base", 1, total))
    trained = sum(
        start + training_seconds(study.runs[run], counts[study.splits_of(run)], speeds(run))
        for run in study.trained_runs
    )
    found.append(Expected("train_run", len(study.trained_runs), trained))
    if study.adopted_runs:
        adopted = len(study.adopted_runs)
        found.append(Expected("adopt_run", adopted, adopted * LIGHT))
    found.append(_evaluated(study, counts, speeds, start))
    if evaluation["probes"]:
        probed = study.final_runs
        passed = (counts[study.splits_of(run)].all * speeds(run).forward for run in probed)
        found.append(Expected("probe_run", len(probed), len(probed) * start + sum(passed)))
    networks = [(of_bases[network["base"]], 1) for network in study.plain_networks.values()]
    networks += [(speeds(run), len(points_of(study, run))) for run in study.adaptive_runs]
    timed = sum(count * _timed(own, evaluation) for own, count in networks)
    found.append(Expected("measure_cost", 1, start + timed, alone=True))
    drawn = len(study.used_splits) + len(study.shown) + len(study.grids) + 1
    return [*found, Expected("figures", drawn, drawn * FIGURES)]


def _timed(speeds: Speeds, evaluation: Mapping[str, Any]) -> float:
    """Seconds that measuring one network takes."""
    images = evaluation["measure_images"]
    passes = [images * speeds.alone, images * speeds.forward, images * speeds.forward]
    return sum(max(evaluation["measure_seconds"], one) for one in passes)


def cached_views(study: "Study") -> dict[tuple[str, str], dict]:
    """View sets whose features are cached, by folder of the base and name: those that runs read."""
    read = {
        (study.base_of(name), views)
        for name, run in study.runs.items()
        for views in run.feature_sets
    }
    return {key: study.view_sets[key[1]] for key in sorted(read)}


def points_of(study: "Study", run: str) -> list[Any]:
    """Settings at which an adaptive run is timed, roughly: the plain model, and each value listed."""
    how = study.experiment_of(run).evaluation
    listed = [
        value for key, value in how.items() if isinstance(value, list) and key != "prune_blocks"
    ]
    targets = how.get("targets", {})
    aimed = (
        [one for values in targets.values() for one in values] if isinstance(targets, dict) else []
    )
    curves = 5 * len(how.get("curve", ()))  # of each criterion
    return [None, *aimed, *range(curves), *(one for values in listed for one in values)]


def _evaluated(
    study: "Study",
    counts: Mapping[str, Counts],
    speeds: Callable[[str], Speeds],
    start: float,
) -> Expected:
    total = 0.0
    together = study.config["evaluation"]["together"]
    groups = {(study.experiment_of(run).method, study.runs[run].seed) for run in study.runs}
    jobs = len(groups) if together else len(study.runs)
    for name, run in study.runs.items():
        images = counts[study.splits_of(name)]
        answered = images.valid if run.point is not None else images.valid + images.test
        method = registry.method(study.experiment_of(name).method)
        points = len(points_of(study, name)) if method.adaptive and not method.trains else 1
        total += 0.0 if run.head_only else answered * points * speeds(name).forward
    return Expected("evaluate", jobs, jobs * start + total)


def wall_seconds(jobs: list[Expected], slots: int) -> float:
    """By the clock, where `slots` jobs run beside each other."""
    shared = sum(job.seconds for job in jobs if not job.alone)
    return shared / slots / (BUSY if slots > 1 else 1.0) + sum(
        job.seconds for job in jobs if job.alone
    )


def room_needed(
    study: "Study", shapes: Mapping[str, Mapping[str, Any]], counts: Counts, slots: int
) -> dict[str, float]:
    """GB on the disk: images, cached features, runs, and tokens while runs train that store them.

    Args:
        study: its configuration.
        shapes: architecture of each base, by folder.
        counts: images.
        slots: jobs beside each other.
    """
    dataset = next(iter(study.datasets.values()))
    parameters = {
        base: sum(p.numel() for p in build_model(dict(shape), 1).parameters())
        for base, shape in shapes.items()
    }
    featured = 0
    for (base, _), how in cached_views(study).items():
        images = counts.train * how["views"] if how["views"] else counts.all
        featured += images * numbers_cached(dict(shapes[base]))
    stored = []
    for name, run in study.runs.items():
        shape = shapes[study.base_of(name)]
        patches = shape["image_size"] // shape.get("patch_size", shape["image_size"])
        tokens = (patches**2 + 1) * shape["hidden_dim"]
        stored += [
            tokens
            * (
                counts.train * max(run.settings["views"] if phase["augment"] else 0, 1)
                + counts.valid
            )
            for phase in run.settings["schedule"]
            if stores_tokens(run.settings, phase)
        ]
    return {
        "images": counts.all * dataset["crop"] ** 2 * 3 / 1e9,
        "features": featured * 4 / 1e9,
        "runs": sum(parameters[study.base_of(run)] for run in study.runs) * 4 / 1e9,
        "tokens": min(slots, len(stored)) * max(stored, default=0) * 2 / 1e9,
    }
