"""A run on disk: trained from its inputs, reused from a twin, loaded again."""

import hashlib
import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import nn

from frugalvit.data.store import Store, read_index
from frugalvit.data.view_sets import PLAIN, view_set_name
from frugalvit.devices.fabric import (
    Fabric,
    device_name,
    peak_memory_mb,
)
from frugalvit.errors import ConfigError
from frugalvit.files import (
    atomic_path,
    sha256_file,
    write_csv,
    write_json,
)
from frugalvit.methods.objectives import objective_for
from frugalvit.methods.trained import (
    describe,
    load_run,
    start_run,
)
from frugalvit.models.base import load_card
from frugalvit.models.weights.tensors import save
from frugalvit.provenance import environment
from frugalvit.training.checkpoint import fingerprint
from frugalvit.training.freezing import freeze_report
from frugalvit.training.loop import Progress, Trainer
from frugalvit.training.parallel import Frozen
from frugalvit.training.phases import SCRATCH, RunData

log = logging.getLogger(__name__)
KEPT = ("valid_accuracy", "valid_loss", "valid_gflops", "alpha_ponder")  # of a card
FILES = ("weights.safetensors", "card.json", "history.csv")


@dataclass(frozen=True)
class RunFiles:
    """Where a run finds its inputs and leaves its outputs."""

    folder: Path
    store: Path
    assignments: Path  # CSV
    base: Path
    features: dict[str, Path]  # view set -> folder
    source: Path | None = None  # folder of the run that this one starts from, in place of the base
    teacher: Path | None = None  # folder of the run whose answers this one learns from


class Choice(NamedTuple):
    """The winner of a search, as a final run sees it."""

    point: int
    twin: str | None  # the search run with the same settings and seed, if there is one


def read_choice(path: str | Path, seed: int) -> Choice:
    """Read what `select_grid` chose."""
    choice = json.loads(Path(path).read_text())
    return Choice(choice["point"], choice["runs_by_seed"].get(str(seed)))


def reuse_run(twin: Path, folder: Path, run: str) -> None:
    """Copy a search run that had the winner's settings and this seed: it need not train twice."""
    for name in FILES[:1] + FILES[2:]:
        with atomic_path(folder / name) as temporary:
            shutil.copyfile(twin / name, temporary)
    card = json.loads((twin / "card.json").read_text())
    write_json(folder / "card.json", card | {"run": run, "reused_from": twin.name})
    log.info("%s: same settings and seed as %s, reused", run, twin.name)


def train_run(
    fabric: Fabric,
    run: str,
    settings: dict,
    files: RunFiles,
    *,
    batch_size: int,
    workers: int,
    code: str,
) -> Progress:
    """Train one run and write its weights, card and history.

    Args:
        settings: as `frugalvit.config.experiments` expands them.
        batch_size: of evaluation and feature extraction.
        workers: processes that augment images.
        code: digest of the code, for the checkpoint's stamp.

    Returns:
        What happened, with the history.

    Raises:
        ConfigError: the schedule, or an exit, does not fit the base.
        TrainingError: training diverged.
    """
    store = Store(files.store)
    assignments = read_index(files.assignments)
    base_card = load_card(files.base)
    num_classes = len(store.class_names)
    torch.manual_seed(settings["seed"])
    try:
        model = start_run(settings, files.base, files.source, num_classes)
        frozen = [freeze_report(model, phase["train"]) for phase in settings["schedule"]]
    except ConfigError as error:
        raise ConfigError(f"experiments.{run.rsplit('-s', 1)[0]}: {error}") from None
    ids = {
        split: assignments.loc[assignments["split"] == split, "id"].tolist()
        for split in ("train", "valid")
    }
    data = RunData(
        store=store,
        train_ids=ids["train"],
        valid_ids=ids["valid"],
        preprocessing=base_card["preprocessing"],
        plain_features=files.features.get(PLAIN),
        view_features=files.features.get(view_set_name(settings)),
        base_backbone=bool(files.features) or files.source is None,
        batch_size=batch_size,
        workers=workers,
    )
    sources = {
        "base": sha256_file(files.base / "weights.safetensors"),
        "index": sha256_file(files.store / "index.csv"),
        "assignments": sha256_file(files.assignments),
    }
    teacher = None
    if files.teacher:
        sources["teacher"] = sha256_file(files.teacher / "weights.safetensors")
        teacher = Frozen(fabric, load_run(files.teacher)[0])
    if files.source:
        sources["source"] = sha256_file(files.source / "weights.safetensors")
    if fabric.is_global_zero:
        for abandoned in files.folder.glob(f"{SCRATCH}*"):
            shutil.rmtree(abandoned)
    stamp = fingerprint(
        settings=settings,
        code=code,
        batch_size=batch_size,
        base=[base_card["architecture"], base_card["preprocessing"]],
        pixels=hashlib.sha256(store.images("train")[:1].tobytes()).hexdigest(),
        precision=str(fabric._precision.precision),
        # Each process draws its own: with another number of them other numbers would follow.
        processes=fabric.world_size if _draws(settings) else 1,
        sources=sources,
    )
    objectives = objective_for(settings, model, teacher)
    trainer = Trainer(model, settings, data, objectives, fabric, files.folder, stamp)
    progress = trainer.fit()
    peak = torch.tensor(peak_memory_mb(fabric.device), device=fabric.device)
    peak = float(fabric.all_reduce(peak, reduce_op="max"))
    if not fabric.is_global_zero:
        return progress
    save(files.folder / "weights.safetensors", model.state_dict())
    write_csv(files.folder / "history.csv", pd.DataFrame(progress.history))
    card = run_card(fabric, run, settings, model, progress) | {
        "peak_memory_mb": round(peak, 1),  # of the process that used most
        "n": {split: len(names) for split, names in ids.items()},
        "preprocessing": base_card["preprocessing"],
        "frozen": frozen,
        "sha256": sources,
    }
    if files.source:
        # What came before is part of what the result cost.
        before = json.loads((files.source / "card.json").read_text())["train_seconds"]
        card |= {"source": files.source.name, "own_train_seconds": card["train_seconds"]}
        card["train_seconds"] = round(card["train_seconds"] + before, 3)
    write_json(files.folder / "card.json", card)
    # Only now: killed before this line, the run goes on from its last epoch instead of from none.
    trainer.checkpoint.remove()
    return progress


def run_card(
    fabric: Fabric, run: str, settings: dict, model: nn.Module, progress: Progress
) -> dict:
    """Provenance of a trained run: settings, epochs, time, device, versions."""
    seconds = sum(row["seconds"] for row in progress.history) + progress.feature_seconds
    return {
        "run": run,
        "method": settings["method"],
        "seed": settings["seed"],
        "settings": settings,
        **describe(model),
        "epochs": len(progress.history),
        "best_epoch": progress.best_epoch,
        "kept": _kept(progress),
        "train_seconds": round(seconds, 3),
        "device": device_name(fabric.device, fabric.world_size),
        "processes": fabric.world_size,
        "threads": torch.get_num_threads(),
        "precision": str(fabric._precision.precision),
        "resumed_after": progress.resumed_after,
        "environment": environment(),
    }


def _draws(settings: dict) -> bool:
    """Whether training draws for each image, besides its augmentation."""
    return bool(settings.get("dropout") or settings.get("stochastic_depth"))


def _kept(progress: Progress) -> dict[str, float]:
    """Validation measures of the epoch whose weights were kept."""
    row = progress.history[progress.best_epoch - 1]
    return {name: value for name, value in row.items() if name in KEPT}
