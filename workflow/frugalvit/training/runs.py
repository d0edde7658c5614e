"""A run on disk: trained from its inputs, reused from a twin, loaded again."""

import logging
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import pandas as pd
import torch
from torch import Tensor, nn

from frugalvit.checksums import check_noted, noted
from frugalvit.data.assignments import read_assignments
from frugalvit.data.store import Store
from frugalvit.data.view_sets import PLAIN, view_set_name
from frugalvit.devices.fabric import Fabric, device_name, peak_memory_mb, precision_of
from frugalvit.errors import TrainingError, WeightsError, sized_by, within
from frugalvit.files import atomic_path, read_json, sha256_file, write_csv, write_json
from frugalvit.models.base import load_card, preprocessing_of
from frugalvit.models.weights.tensors import save
from frugalvit.provenance import environment
from frugalvit.training.checkpoint import fingerprint
from frugalvit.training.freezing import freeze_report
from frugalvit.training.loop import Progress, Trainer
from frugalvit.training.objective import Recipe
from frugalvit.training.parallel import Frozen
from frugalvit.training.parts import has_batch_norm
from frugalvit.training.phases import SCRATCH, RunData
from frugalvit.words import MIXES

log = logging.getLogger(__name__)
# Columns of every history that say nothing of how good an epoch was.
OF_EPOCH = ("epoch", "phase", "train", "lr", "seconds", "images_at_once")
FILES = ("weights.safetensors", "card.json", "history.csv")


@dataclass(frozen=True)
class RunFiles:
    """Where a run finds its inputs and leaves its outputs."""

    folder: Path
    store: Path
    assignments: Path  # CSV
    base: Path | None  # None in a study without one
    features: dict[str, Path]  # view set -> folder
    source: Path | None = None  # folder of the run that this one starts from, in place of the base
    teacher: Path | None = None  # folder of the run whose answers this one learns from
    network: Path | None = None  # weights that a network of its own begins with


class Choice(NamedTuple):
    """The winner of a search, as a final run sees it."""

    point: int
    twin: str | None  # the search run with the same settings and seed, if there is one


def read_choice(path: str | Path, seed: int) -> Choice:
    """Read what `select_grid` chose."""
    choice = read_json(path)
    return Choice(choice["point"], choice["runs_by_seed"].get(str(seed)))


def reuse_run(twin: Path, folder: Path, run: str) -> None:
    """Copy a search run that had the winner's settings and this seed: it need not train twice."""
    check_noted(twin / FILES[0], WeightsError)
    for name in FILES[:1] + FILES[2:]:
        with atomic_path(folder / name) as temporary:
            shutil.copyfile(twin / name, temporary)
    card = read_json(twin / "card.json")
    write_json(folder / "card.json", card | {"run": run, "reused_from": twin.name})
    log.info("%s: same settings and seed as %s, reused", run, twin.name)


def train_run(
    fabric: Fabric,
    run: str,
    settings: dict,
    files: RunFiles,
    recipe: Recipe,
    *,
    batch_size: int,
    workers: int,
    code: str,
    square: dict[str, Any] | None = None,
    halve: bool = False,
) -> Progress:
    """Train one run and write its weights, card and history.

    Args:
        fabric: of this process.
        run: its id.
        settings: as `frugalvit.config.experiments` expands them.
        files: its inputs and outputs.
        recipe: its method's model and objectives.
        batch_size: of evaluation and feature extraction.
        workers: processes that augment images.
        code: digest of the code, for the checkpoint's stamp.
        square: how the store's images were cut (`data.arrays.Square`), for the card: predicting does
            so with new ones.
        halve: compute a batch for which memory runs out in parts (`training.parts`).

    Returns:
        What happened, with the history.

    Raises:
        ConfigError: the schedule, or what the method adds, does not fit the base.
        TrainingError: training diverged, or memory ran out.
    """
    data = _data(settings, files, recipe.boxed, batch_size, workers)
    torch.manual_seed(settings["seed"])
    with within(f"experiments.{run.rsplit('-s', 1)[0]}"):
        classes = len(data.store.class_names)
        model = recipe.start(settings, files.base, files.source, classes, files.network)
        frozen = [freeze_report(model, phase["train"]) for phase in settings["schedule"]]
    _check_processes(model, fabric.world_size)
    teacher = Frozen(fabric, recipe.load(files.teacher)) if files.teacher else None
    if fabric.is_global_zero:
        for abandoned in files.folder.glob(f"{SCRATCH}*"):
            shutil.rmtree(abandoned)
    sources = _checksums(files)
    base = load_card(files.base)["architecture"] if files.base else None
    stamp = _stamp(fabric, settings, data, code, base, sources)
    objectives = recipe.objectives(model, settings, teacher)
    trainer = Trainer(
        model, settings, data, objectives, fabric, files.folder, stamp, teacher=teacher, halve=halve
    )
    remedy = "" if halve else ", or set compute.on_memory_error: halve"
    with sized_by(_batch_key(run), "evaluation.batch_size", remedy=remedy):
        progress = trainer.fit()
    own_peak = torch.tensor(peak_memory_mb(fabric.device), device=fabric.device)
    peak = float(cast(Tensor, fabric.all_reduce(own_peak, reduce_op="max")))
    if not fabric.is_global_zero:
        return progress
    save(files.folder / "weights.safetensors", model.state_dict())
    write_csv(files.folder / "history.csv", pd.DataFrame(progress.history))
    card = run_card(fabric, run, trainer.settings, recipe.describe(model), progress) | {
        "peak_memory_mb": round(peak, 1),  # of the process that used most
        "n": {"train": len(data.train_ids), "valid": len(data.valid_ids)},
        "classes": data.store.class_names,  # in the order of the logits
        "preprocessing": data.preprocessing,
        **({"square": square} if square else {}),
        "frozen": frozen,
        "sha256": sources,
        "weights_sha256": sha256_file(files.folder / "weights.safetensors"),
    }
    write_json(files.folder / "card.json", card | _time_before(files.source, card))
    # Only now: killed before this line, the run goes on from its last epoch instead of from none.
    trainer.checkpoint.remove()
    return progress


def _check_processes(model: nn.Module, count: int) -> None:
    """Refuse several processes where they would not give the numbers of one.

    Raises:
        TrainingError: batch norm normalises by the images of one process, a part of the batch.
    """
    if count > 1 and has_batch_norm(model):
        raise TrainingError(
            f"compute: {count} processes share each batch, but this network has batch norm, which "
            "counts the images of one alone; set compute.gpu and compute.cpu_processes to 1"
        )


def _batch_key(run: str) -> str:
    """The key that sets how many images a run trains on at once; of a search's run its experiment's."""
    named = re.fullmatch(r"(.+?)(-g\d+)?-s\d+", run)
    return f"experiments.{named[1]}.batch_size" if named else "base.pretrain.training.batch_size"


def _data(settings: dict, files: RunFiles, boxed: bool, batch_size: int, workers: int) -> RunData:
    """The run's images and cached features."""
    store = Store(files.store)
    assignments = read_assignments(files.assignments, store)
    ids = {
        split: assignments.loc[assignments["split"] == split, "id"].tolist()
        for split in ("train", "valid")
    }
    return RunData(
        store=store,
        train_ids=ids["train"],
        valid_ids=ids["valid"],
        preprocessing=preprocessing_of(files.base, settings),
        plain_features=files.features.get(PLAIN),
        view_features=files.features.get(view_set_name(settings)),
        base_backbone=bool(files.features) or files.source is None,
        batch_size=batch_size,
        workers=workers,
        boxed=boxed,
    )


def _checksums(files: RunFiles) -> dict[str, str]:
    """Checksums of all files that the run is made from."""
    sources = {
        "index": sha256_file(files.store / "index.csv"),
        "assignments": sha256_file(files.assignments),
    }
    for name, folder in (
        ("base", files.base),
        ("teacher", files.teacher),
        ("source", files.source),
    ):
        if folder:
            sources[name] = sha256_file(folder / "weights.safetensors")
    if files.network:
        sources["network"] = sha256_file(files.network)
    return sources


def _stamp(
    fabric: Fabric,
    settings: dict,
    data: RunData,
    code: str,
    base: dict | None,
    sources: dict[str, str],
) -> str:
    """Fingerprint of everything that a checkpoint of the run depends on."""
    draws = (
        settings.get("dropout")
        or settings.get("stochastic_depth")
        or settings.get("localize", {}).get("dropout")
        or any(phase["augment"].get(key) for phase in settings["schedule"] for key in MIXES)
    )
    return fingerprint(
        settings=settings,
        code=code,
        batch_size=data.batch_size,
        base=[base, data.preprocessing],
        pixels=[noted(data.store.folder / f"{split}.npy") for split in ("train", "valid")],
        precision=precision_of(fabric),
        # Each process draws its own: with another number of them other numbers would follow.
        processes=fabric.world_size if draws else 1,
        sources=sources,
    )


def _time_before(source: Path | None, card: dict) -> dict[str, Any]:
    """What came before is part of what the result cost."""
    if source is None:
        return {}
    own = card["train_seconds"]
    before = read_json(source / "card.json")["train_seconds"]
    return {
        "source": source.name,
        "own_train_seconds": own,
        "train_seconds": round(own + before, 3),
    }


def run_card(
    fabric: Fabric, run: str, settings: dict, described: dict[str, Any], progress: Progress
) -> dict:
    """Provenance of a trained run: settings, epochs, time, device, versions."""
    seconds = sum(row["seconds"] for row in progress.history) + progress.feature_seconds
    return {
        "run": run,
        "method": settings["method"],
        "seed": settings["seed"],
        "settings": settings,
        **described,
        "epochs": len(progress.history),
        "best_epoch": progress.best_epoch,
        "kept": _kept(progress),
        "train_seconds": round(seconds, 3),
        "device": device_name(fabric.device, fabric.world_size),
        "processes": fabric.world_size,
        "threads": torch.get_num_threads(),
        "precision": precision_of(fabric),
        "resumed_after": progress.resumed_after,
        "environment": environment(),
    }


def _kept(progress: Progress) -> dict[str, float]:
    """Validation measures, and weights of losses, of the epoch whose weights were kept."""
    row = progress.history[progress.best_epoch - 1]
    told = (name for name in row if name not in OF_EPOCH and not name.startswith("train_"))
    return {name: row[name] for name in told}
