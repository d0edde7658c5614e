"""Frozen means computed once: features of every block, cached for all runs that share them.

A feature file is a float32 array `[images, views, blocks, 2, dim]`: after each block, before the
final norm, the class token (index 0) and the mean patch token (index 1). Of a model of timm's it is
`[images, views, 1, 1, dim]`, what its head reads. Rows are the rows of the
store's split, so that any assignment of images to splits finds its own (`data.feature_files`). Rows
that were left out are zero, and take no room on disk.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from frugalvit.data.arrays import create_file
from frugalvit.data.batches import ImageSet, batch_order, batches
from frugalvit.data.store import Store
from frugalvit.devices.fabric import Fabric
from frugalvit.errors import WeightsError, sized_by
from frugalvit.files import atomic_path
from frugalvit.jobs.progress import Progress
from frugalvit.models.backbone import (
    CLASS_TOKEN,
    PATCH_MEAN,
    block_outputs,
    forward_intermediates,
    pool,
)
from frugalvit.models.heads import Pooled
from frugalvit.training.parallel import Share

log = logging.getLogger(__name__)


def image_sets(
    store: Store,
    ids: list[str],
    preprocessing: dict,
    views: int,
    augment: dict,
    seed: int,
    boxed: bool = False,
) -> list[ImageSet]:
    """One `ImageSet` a view: only the plain view, or `views` augmented ones."""
    if not views or not augment:
        return [ImageSet(store, ids, preprocessing, boxed=boxed)]
    sets = []
    for view in range(views):
        images = ImageSet(store, ids, preprocessing, augment, seed, boxed)
        images.epoch = view
        sets.append(images)
    return sets


CACHE_SEED = 0  # of the cached views that all runs share


def view_targets(sets: Sequence[ImageSet]) -> Tensor:
    """Targets of every view of the same images, `[images, views, 5]`, or labels `[images]`."""
    targets = [images.targets(np.arange(len(images))) for images in sets]
    return torch.stack(targets, dim=1) if targets[0].ndim > 1 else targets[0]


def cached_targets(images: ImageSet, views: int, augment: dict) -> Tensor:
    """As `view_targets`, of images in the views that the base's cache holds (`extract_features`).

    Args:
        images: a plain set, boxed.
        views: cached ones.
        augment: their augmentation.
    """
    targets = torch.empty(len(images), max(views, 1), 5)
    for split in set(images.splits):
        ids = images.store.ids(split)
        how = (images.preprocessing, views, augment, CACHE_SEED, True)
        found = view_targets(image_sets(images.store, ids, *how))
        mine = np.flatnonzero(images.splits == split)
        targets[mine] = found[images.rows[mine]]
    return targets


@torch.inference_mode()
def extract_to_file(
    fabric: Fabric,
    model: nn.Module,
    sets: list[ImageSet],
    path: Path,
    batch_size: int,
    rows: Sequence[int] | np.ndarray | None = None,
    shown: Progress | None = None,
) -> None:
    """Write the features of all blocks of `sets`, one set a view, to an npy file.

    An interrupted extraction leaves no file: a partly written array would look complete.

    Args:
        rows: positions in the sets that are computed; all where None. With none of them the file has
            no rows.
        shown: counts an image of each view.

    Raises:
        WeightsError: the model gives values that are not finite.
    """
    chosen = np.arange(len(sets[0])) if rows is None else np.asarray(rows, dtype=np.int64)
    shape = (len(sets[0]) if len(chosen) else 0, len(sets), *_shape_of(model))
    order = [chosen[chunk].tolist() for chunk in batch_order(len(chosen), batch_size)]
    with atomic_path(path) as temporary:
        if not shape[0]:
            np.save(temporary.with_suffix(".npy"), np.empty(shape, np.float32))
            return
        start = create_file(temporary, shape, np.dtype(np.float32))
        model.eval()
        with temporary.open("r+b") as file:
            for view, images in enumerate(sets):
                loader = fabric.setup_dataloaders(batches(images, order))
                for batch, (pixels, _) in zip(order, loader, strict=True):
                    values = _values(fabric, model, pixels, [images.ids[row] for row in batch])
                    for row, own in zip(batch, values, strict=True):
                        file.seek(start + (row * len(sets) + view) * own.nbytes)
                        file.write(own.data)
                    if shown:
                        shown.advance(len(batch))


def _shape_of(model: nn.Module) -> tuple[int, int, int]:
    """Of one image's features: blocks, pooled tokens, dim."""
    if isinstance(model, Pooled):
        return 1, 1, model.hidden_dim
    backbone = cast(VisionTransformer, model)
    return len(backbone.encoder.layers), 2, backbone.hidden_dim


def _values(fabric: Fabric, model: nn.Module, pixels: Tensor, ids: Sequence[str]) -> np.ndarray:
    """Features of a batch in one view, float32 `[batch, *_shape_of(model)]`."""
    values = np.empty((len(pixels), *_shape_of(model)), np.float32)
    with fabric.autocast(), sized_by("evaluation.batch_size"):
        if isinstance(model, Pooled):
            values[:, 0, 0] = model.pool(pixels).float().cpu()
        else:
            class_tokens, patch_means = forward_intermediates(
                cast(VisionTransformer, model), pixels
            )
            values[:, :, CLASS_TOKEN] = class_tokens.float().cpu()
            values[:, :, PATCH_MEAN] = patch_means.float().cpu()
    finite = np.isfinite(values).all(axis=(1, 2, 3))
    if not finite.all():
        raise WeightsError(
            f"base: its features of image {ids[int(finite.argmin())]} are not finite; correct "
            "base.mean, base.std or the weights"
        )
    return values


@torch.inference_mode()
def compute_features(
    share: Share,
    model: nn.Module,
    sets: Sequence[ImageSet],
    blocks: Sequence[int],
    batch_size: int,
    workers: int = 0,
    grids: Sequence[np.ndarray] = (),
    grid_blocks: Sequence[int] = (),
) -> Tensor:
    """Features as `read_features` gives them, of a backbone that is not the base's; one set a view.

    Args:
        share: of the processes that compute them together; each gets all.
        grids: arrays `[images, views, 1 + patches, dim]`, one for each of `grid_blocks`, that are
            filled with every token after these blocks.
    """
    model.eval()
    shown = Progress("features", len(sets[0]) * len(sets), "images", enabled=share.first)

    def pooled(pixels: Tensor, rows: slice) -> Tensor:
        found = []
        if isinstance(model, Pooled):
            with share.fabric.autocast():
                found.append(model.pool(pixels)[:, None].float())
            shown.advance(len(pixels) * share.count)
            return torch.stack(found, dim=1)
        with share.fabric.autocast():
            backbone = cast(VisionTransformer, model)
            for block, tokens in enumerate(block_outputs(backbone, pixels), start=1):
                if block in blocks:
                    found.append(pool(tokens).float())
                if block in grid_blocks:
                    grids[list(grid_blocks).index(block)][rows, view] = tokens.float().cpu()
                if block == max(blocks):
                    break
        shown.advance(len(pixels) * share.count)
        return torch.stack(found, dim=1)

    shape = (len(blocks), *_shape_of(model)[1:])
    views = []
    for view, images in enumerate(sets):  # noqa: B007 - read inside `pooled`
        views.append(share.compute(images, batch_size, workers, shape, pooled))
    return torch.stack(views, dim=1)
