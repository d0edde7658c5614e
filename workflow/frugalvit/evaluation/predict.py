"""Logits of a trained run over whole splits."""

from pathlib import Path

import torch
from torch import Tensor, nn

from frugalvit.data.batches import ImageSet, batches
from frugalvit.data.feature_files import read_features
from frugalvit.data.store import Store
from frugalvit.devices.fabric import Fabric
from frugalvit.errors import sized_by
from frugalvit.jobs.progress import Progress
from frugalvit.models.heads import feature_blocks, grid_blocks, on_features


@torch.inference_mode()
def predict(
    fabric: Fabric,
    model: nn.Module,
    images: ImageSet,
    batch_size: int,
    workers: int = 0,
    shown: Progress | None = None,
) -> Tensor:
    """Logits `[images, classes]` (float32, on the CPU), in the set's order.

    Of a model with early exits those of every exit, `[images, exits, classes]`. The images count
    towards `shown`.
    """
    shown = shown or Progress("answer", len(images), "images")
    module = fabric.setup_module(model)
    module.eval()
    loader = fabric.setup_dataloaders(batches(images, batch_size, workers=workers))
    logits = []
    for pixels, _ in loader:
        with sized_by("evaluation.batch_size"):
            logits.append(module(pixels).float().cpu())
        shown.advance(len(pixels))
    return torch.cat(logits)


@torch.inference_mode()
def predict_from_features(
    fabric: Fabric, model: nn.Module, features: Tensor, batch_size: int
) -> Tensor:
    """The logits of `predict`, from cached features `[images, blocks, 2, dim]` of blocks with a head.

    For a run that never trained its backbone, whose features the base's cache holds.
    """
    module = fabric.setup_module(on_features(model))
    module.eval()
    chunks = features.split(batch_size)
    return torch.cat([module(chunk.to(fabric.device)).float().cpu() for chunk in chunks])


def logits_of(
    fabric: Fabric,
    model: nn.Module,
    store: Store,
    ids: list[str],
    preprocessing: dict,
    features: Path | None,
    batch_size: int,
    shown: Progress | None = None,
) -> tuple[Tensor, Tensor]:
    """Logits and labels of images, from the base's cached features where the run may use them.

    Args:
        features: folder of the base's plain features, for a run that left the backbone as it was;
            not used where a head reads every token.
        shown: counts images; from cached features they take no time.
    """
    images = ImageSet(store, ids, preprocessing)
    if features is None or grid_blocks(model):
        return predict(fabric, model, images, batch_size, shown=shown), images.labels
    cached = read_features(features, images, feature_blocks(model))[:, 0]
    return predict_from_features(fabric, model, cached, batch_size), images.labels
