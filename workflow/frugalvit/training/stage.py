"""One phase of a schedule, made ready to train: what is frozen, what it reads, how it steps."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torchvision.models import VisionTransformer

from frugalvit.data.batches import FeatureSet, ImageSet, mix_seed
from frugalvit.data.store import Store
from frugalvit.devices import Fabric
from frugalvit.models.heads import HeadOnFeatures
from frugalvit.training import features
from frugalvit.training.freezing import apply_freeze, parameter_groups

PLATEAU_FACTOR = 0.1
# Separate streams for everything a run draws, so that one more draw in one disturbs no other.
AUGMENT, SHUFFLE, VIEW, DROPOUT = range(4)


@dataclass(frozen=True)
class RunData:
    """Where a run's images and cached features lie."""

    store: Store
    train_ids: list[str]
    valid_ids: list[str]
    preprocessing: dict
    plain_features: Path | None = None  # folder of the base's cached features, plain view
    view_features: Path | None = None  # folder of its augmented views
    batch_size: int = 64  # of evaluation and feature extraction
    workers: int = 0


@dataclass
class Stage:
    """A phase ready to train. `module` and `optimizer` are Fabric's."""

    module: nn.Module
    optimizer: torch.optim.Optimizer
    train: ImageSet | FeatureSet
    valid: ImageSet | FeatureSet
    cached: bool


def prepare_stage(
    fabric: Fabric,
    model: VisionTransformer,
    settings: dict,
    phase: dict,
    data: RunData,
    fresh: bool,
) -> Stage:
    """Freeze, gather inputs and build the optimiser of one phase.

    Args:
        settings: the run's settings (`cache_features`, `views`, `seed`).
        fresh: whether the backbone still is the base's, whose cached features then hold.
    """
    apply_freeze(model, phase["train"])
    cached = phase["train"] == "head" and settings["cache_features"]
    seed = settings["seed"]
    if cached:
        train, valid = _feature_sets(fabric, model, settings, phase, data, fresh)
        network: nn.Module = HeadOnFeatures(model)
    else:
        augment = phase["augment"] or None
        train = ImageSet(
            data.store, data.train_ids, data.preprocessing, augment, mix_seed(seed, AUGMENT)
        )
        valid = ImageSet(data.store, data.valid_ids, data.preprocessing)
        network = model
    groups = parameter_groups(
        model, phase["train"], phase["lr"], phase["weight_decay"], phase["layer_decay"]
    )
    if phase["optimizer"] == "adamw":
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(groups, lr=phase["lr"])
    else:
        optimizer = torch.optim.SGD(groups, lr=phase["lr"], momentum=0.9)
    module, optimizer = fabric.setup(network, optimizer)
    return Stage(module, optimizer, train, valid, cached)


def _feature_sets(
    fabric: Fabric,
    model: VisionTransformer,
    settings: dict,
    phase: dict,
    data: RunData,
    fresh: bool,
) -> tuple[FeatureSet, FeatureSet]:
    plain_train = ImageSet(data.store, data.train_ids, data.preprocessing)
    plain_valid = ImageSet(data.store, data.valid_ids, data.preprocessing)
    with_views = bool(settings["views"] and phase["augment"])
    train_cache = data.view_features if with_views else data.plain_features
    if fresh and train_cache and data.plain_features:
        train = features.read_class_tokens(train_cache, plain_train)
        valid = features.read_class_tokens(data.plain_features, plain_valid)
    else:
        views = features.image_sets(
            data.store,
            data.train_ids,
            data.preprocessing,
            settings["views"],
            phase["augment"],
            mix_seed(settings["seed"], AUGMENT),
        )
        how = {"batch_size": data.batch_size, "workers": data.workers}
        train = features.compute_class_tokens(fabric, model, views, **how)
        valid = features.compute_class_tokens(fabric, model, [plain_valid], **how)
    device = fabric.device
    return (
        FeatureSet(train.to(device), plain_train.labels, mix_seed(settings["seed"], VIEW)),
        FeatureSet(valid.to(device), plain_valid.labels),
    )


def rate_factor(phase: dict, step: int, steps_per_epoch: int) -> float:
    """Factor on every learning rate at a step (from 0) of a phase: linear warm-up, then cosine.

    Warm-up reaches the full rate at its last step; cosine (SGDR, Loshchilov and Hutter 2017,
    without restarts) falls over the remaining steps to nearly zero at the phase's last.
    """
    total = phase["epochs"] * steps_per_epoch
    warmup = min(round(phase["warmup_epochs"] * steps_per_epoch), total - 1)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if phase["lr_schedule"] == "cosine":
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))
    return 1.0


@dataclass
class Patience:
    """What plateau and early stopping remember within a phase."""

    best_loss: float = math.inf
    epochs_without_loss: int = 0
    best_accuracy: float = -math.inf
    epochs_without_accuracy: int = 0
    factor: float = 1.0  # of the learning rates, lowered by plateau

    def update(self, phase: dict, loss: float, accuracy: float) -> None:
        """Take in one epoch's validation loss and accuracy."""
        if loss < self.best_loss:
            self.best_loss, self.epochs_without_loss = loss, 0
        else:
            self.epochs_without_loss += 1
        if accuracy > self.best_accuracy:
            self.best_accuracy, self.epochs_without_accuracy = accuracy, 0
        else:
            self.epochs_without_accuracy += 1
        if (
            phase["lr_schedule"] == "plateau"
            and self.epochs_without_loss > phase["plateau_patience"]
        ):
            self.factor *= PLATEAU_FACTOR
            self.epochs_without_loss = 0

    def exhausted(self, phase: dict) -> bool:
        """Whether early stopping ends the phase."""
        return (
            bool(phase["early_stopping"])
            and self.epochs_without_accuracy >= phase["early_stopping"]
        )
