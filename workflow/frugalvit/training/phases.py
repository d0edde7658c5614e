"""One phase of a schedule, made ready to train: what is frozen, what it reads, how it steps."""

import logging
import math
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from frugalvit.data.arrays import reserve
from frugalvit.data.batches import FeatureSet, ImageSet, Items, StateSet, mix_seed
from frugalvit.data.feature_files import read_features
from frugalvit.data.store import Store
from frugalvit.models.backbone import backbone_of
from frugalvit.models.heads import (
    feature_blocks,
    grid_blocks,
    on_features,
    on_images,
    second_half,
)
from frugalvit.training import features
from frugalvit.training.compiling import compiled_where_possible
from frugalvit.training.freezing import apply_freeze, parameter_groups
from frugalvit.training.parallel import Share
from frugalvit.training.prefix import blocks_cached, store_states
from frugalvit.words import MIXES, heads_alone

log = logging.getLogger(__name__)

PLATEAU_FACTOR = 0.1
LR_STEPS, STEP_FACTOR = (0.6, 0.85), 0.1
SCRATCH = ".tokens-"  # folders that only a killed run leaves behind
# Separate streams for everything a run draws, so that one more draw in one disturbs no other.
AUGMENT, SHUFFLE, VIEW, DROPOUT, MIX = range(5)


@dataclass(frozen=True)
class RunData:
    """Where a run's images and cached features lie."""

    store: Store
    train_ids: list[str]
    valid_ids: list[str]
    preprocessing: dict
    plain_features: Path | None = None  # folder of the base's cached features, plain view
    view_features: Path | None = None  # folder of its augmented views
    base_backbone: bool = True  # whether the run starts with the base's own backbone
    batch_size: int = 64  # of evaluation and feature extraction
    workers: int = 0
    boxed: bool = False  # whether the run learns boxes besides classes


@dataclass
class Stage:
    """A phase ready to train. `module` and `optimizer` are Fabric's."""

    module: nn.Module
    optimizer: torch.optim.Optimizer
    train: Items
    valid: Items
    cached: bool
    scratch: tempfile.TemporaryDirectory | None = None  # holds tokens while the phase trains


def prepare_stage(
    share: Share,
    model: nn.Module,
    settings: dict,
    phase: dict,
    data: RunData,
    fresh: bool,
    folder: Path,
    teacher: nn.Module | None = None,
) -> Stage:
    """Freeze, gather inputs and build the optimiser of one phase.

    Args:
        share: this process's part of the work.
        settings: the run's settings (`cache_features`, `cache_tokens`, `views`, `seed`, `compile`).
        fresh: whether the backbone still is the base's, whose cached features then hold.
        folder: the run's, for tokens, which are too large for memory.
        teacher: whose answers the run learns from, if any.
    """
    apply_freeze(model, phase["train"])
    first = blocks_cached(model, settings, phase)
    of_heads = heads_alone(phase["train"]) and settings["cache_features"]
    seed = settings["seed"]
    scratch = None
    if share.first and (first or (of_heads and grid_blocks(model))):
        scratch = tempfile.TemporaryDirectory(prefix=SCRATCH, dir=folder)
    place = share.fabric.broadcast(scratch.name if scratch else None)
    train: Items
    valid: Items
    if first:
        train, valid = _state_sets(share, model, teacher, first, settings, phase, data, str(place))
        network = cast(nn.Module, second_half(model, first))
    elif of_heads:
        train, valid = _feature_sets(share, model, settings, phase, data, fresh, place)
        network = on_features(model)
    else:
        # Whole batches are mixed later, on the device.
        augment = {
            key: value for key, value in phase["augment"].items() if key not in MIXES
        } or None
        later = phase.get("augment_on") == "device"
        how = (augment, mix_seed(seed, AUGMENT), data.boxed, later)
        train = ImageSet(data.store, data.train_ids, data.preprocessing, *how)
        valid = ImageSet(data.store, data.valid_ids, data.preprocessing, boxed=data.boxed)
        network = on_images(model) if heads_alone(phase["train"]) else model
    groups = parameter_groups(
        model, phase["train"], phase["lr"], phase["weight_decay"], phase["layer_decay"]
    )
    if phase["optimizer"] == "adamw":
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(groups, lr=phase["lr"])
    else:
        optimizer = torch.optim.SGD(groups, lr=phase["lr"], momentum=0.9)
    if settings.get("compile") and not heads_alone(phase["train"]):
        own = -(-phase["batch_size"] // share.count)
        network = compiled_where_possible(network, own, share.fabric.device)
    module, optimizer = share.fabric.setup(network, optimizer)
    return Stage(module, optimizer, train, valid, bool(first) or of_heads, scratch)


def _state_sets(
    share: Share,
    model: nn.Module,
    teacher: nn.Module | None,
    first: int,
    settings: dict,
    phase: dict,
    data: RunData,
    scratch: str,
) -> tuple[StateSet, StateSet]:
    """What the `first` blocks make of the images that train and validate."""
    views = _views(settings, phase, data)
    plain = ImageSet(data.store, data.valid_ids, data.preprocessing, boxed=data.boxed)
    how: dict[str, Any] = {"batch_size": data.batch_size, "workers": data.workers}
    drawn = mix_seed(settings["seed"], VIEW)
    return (
        store_states(
            share, model, teacher, first, views, Path(scratch, "train"), seed=drawn, **how
        ),
        # Validation is of labels alone: it asks no teacher.
        store_states(share, model, None, first, [plain], Path(scratch, "valid"), **how),
    )


def _views(settings: dict, phase: dict, data: RunData) -> list[ImageSet]:
    """The images that train in each view that is cached."""
    return features.image_sets(
        data.store,
        data.train_ids,
        data.preprocessing,
        settings["views"],
        phase["augment"],
        mix_seed(settings["seed"], AUGMENT),
        data.boxed,
    )


def _feature_sets(
    share: Share,
    model: nn.Module,
    settings: dict,
    phase: dict,
    data: RunData,
    fresh: bool,
    scratch: str | None,
) -> tuple[FeatureSet, FeatureSet]:
    plain_train = ImageSet(data.store, data.train_ids, data.preprocessing, boxed=data.boxed)
    plain_valid = ImageSet(data.store, data.valid_ids, data.preprocessing, boxed=data.boxed)
    with_views = bool(settings["views"] and phase["augment"])
    train_cache = data.view_features if with_views else data.plain_features
    blocks = feature_blocks(model)
    train_grids: list[np.ndarray] = []
    valid_grids: list[np.ndarray] = []
    if fresh and train_cache and data.plain_features and not scratch:
        train = read_features(train_cache, plain_train, blocks)
        valid = read_features(data.plain_features, plain_valid, blocks)
        cached_views = settings["views"] if with_views else 0
        labels = plain_train.labels
        if data.boxed:
            labels = features.cached_targets(plain_train, cached_views, phase["augment"])
    else:
        views = _views(settings, phase, data)
        labels = features.view_targets(views)
        if scratch:
            train_grids = _make_grids(share, Path(scratch), "train", model, views)
            valid_grids = _make_grids(share, Path(scratch), "valid", model, [plain_valid])
        backbone, tokens = backbone_of(model), grid_blocks(model)
        how: dict[str, Any] = {
            "batch_size": data.batch_size,
            "workers": data.workers,
            "grid_blocks": tokens,
        }
        train = features.compute_features(share, backbone, views, blocks, grids=train_grids, **how)
        valid = features.compute_features(
            share, backbone, [plain_valid], blocks, grids=valid_grids, **how
        )
        share.fabric.barrier()  # each process has written its part of the grids
    device = share.fabric.device
    view_seed = mix_seed(settings["seed"], VIEW)
    return (
        FeatureSet(train.to(device), labels, view_seed, train_grids),
        FeatureSet(valid.to(device), features.view_targets([plain_valid]), 0, valid_grids),
    )


def _make_grids(
    share: Share, folder: Path, split: str, model: nn.Module, views: list[ImageSet]
) -> list[np.ndarray]:
    """Room on disk for every token after the blocks whose heads read them all."""
    backbone = backbone_of(model)
    shape = (len(views[0]), len(views), backbone.seq_length, backbone.hidden_dim)
    paths = [folder / f"{split}-{block}.npy" for block in grid_blocks(model)]
    if share.first:
        for path in paths:
            reserve(path, shape, np.dtype(np.float32))
    share.fabric.barrier()
    grids = [np.load(path, mmap_mode="r+") for path in paths]
    size = sum(grid.nbytes for grid in grids)
    log.info("tokens of blocks %s, %s: %.0f MB on disk", grid_blocks(model), split, size / 1e6)
    return grids


def rate_factor(phase: dict, step: int, steps_per_epoch: int, total: int | None = None) -> float:
    """Factor on every learning rate at a step (from 0) of a phase: linear warm-up, then its course.

    Warm-up reaches the full rate at its last step; cosine (SGDR, Loshchilov and Hutter 2017,
    without restarts) falls over the remaining steps to nearly zero at the phase's last; step falls
    to a tenth after each of `lr_steps`, shares of all steps.

    Args:
        phase: of a schedule.
        step: from 0.
        steps_per_epoch: of a whole epoch.
        total: steps of the phase; where None its epochs are whole.
    """
    total = phase["epochs"] * steps_per_epoch if total is None else total
    warmup = min(round(phase["warmup_epochs"] * steps_per_epoch), total - 1)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if phase["lr_schedule"] == "cosine":
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))
    if phase["lr_schedule"] == "step":
        shares = phase.get("lr_steps", LR_STEPS)
        return math.prod(STEP_FACTOR for share in shares if step >= share * total)
    return 1.0


@dataclass
class Patience:
    """What plateau and early stopping remember within a phase."""

    best_loss: float = math.inf
    epochs_without_loss: int = 0
    best_score: list[float] = field(default_factory=lambda: [-math.inf])
    epochs_without_better: int = 0
    factor: float = 1.0  # of the learning rates, lowered by plateau

    def update(self, phase: dict, loss: float, score: list[float]) -> None:
        """Take in one epoch's validation loss and score (an objective's, without its last item)."""
        if loss < self.best_loss:
            self.best_loss, self.epochs_without_loss = loss, 0
        else:
            self.epochs_without_loss += 1
        if score > self.best_score:
            self.best_score, self.epochs_without_better = score, 0
        else:
            self.epochs_without_better += 1
        if (
            phase["lr_schedule"] == "plateau"
            and self.epochs_without_loss > phase["plateau_patience"]
        ):
            self.factor *= PLATEAU_FACTOR
            self.epochs_without_loss = 0

    def exhausted(self, phase: dict) -> bool:
        """Whether early stopping ends the phase."""
        return (
            bool(phase["early_stopping"]) and self.epochs_without_better >= phase["early_stopping"]
        )
