"""Frozen means computed once: features of every block, cached for all runs that share them.

A feature file is a float32 array `[images, views, blocks, 2, dim]`: after each block, before the
final norm, the class token (index 0) and the mean patch token (index 1). Rows are the rows of the
store's split, so that any assignment of images to splits finds its own.
"""

import logging
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from torch import Tensor
from torchvision.models import VisionTransformer
from tqdm import tqdm

from frugalvit.card import atomic_path
from frugalvit.data.batches import ImageSet, batches
from frugalvit.data.store import Store
from frugalvit.devices import Fabric
from frugalvit.models.backbone import block_outputs, forward_intermediates

log = logging.getLogger(__name__)
CLASS_TOKEN, PATCH_MEAN = 0, 1


def image_sets(
    store: Store, ids: list[str], preprocessing: dict, views: int, augment: dict, seed: int
) -> list[ImageSet]:
    """One `ImageSet` a view: the plain view alone, or `views` augmented ones."""
    if not views or not augment:
        return [ImageSet(store, ids, preprocessing)]
    sets = []
    for view in range(views):
        images = ImageSet(store, ids, preprocessing, augment, seed)
        images.epoch = view
        sets.append(images)
    return sets


@torch.inference_mode()
def extract_to_file(
    fabric: Fabric,
    model: VisionTransformer,
    sets: list[ImageSet],
    path: Path,
    batch_size: int,
    workers: int = 0,
) -> None:
    """Write the features of all blocks of `sets`, one set a view, to an npy file.

    An interrupted extraction leaves no file: a partly written array would look complete.
    """
    blocks, dim = len(model.encoder.layers), model.hidden_dim
    shape = (len(sets[0]), len(sets), blocks, 2, dim)
    with atomic_path(path) as temporary:
        if not shape[0]:
            np.save(temporary.with_suffix(".npy"), np.empty(shape, np.float32))
            return
        features = open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
        model.eval()
        for view, images in enumerate(sets):
            start = 0
            loader = fabric.setup_dataloaders(batches(images, batch_size, workers=workers))
            for pixels, _ in tqdm(loader, desc=f"{path.stem}, view {view + 1}", disable=None):
                with fabric.autocast():
                    class_tokens, patch_means = forward_intermediates(model, pixels)
                stop = start + len(pixels)
                features[start:stop, view, :, CLASS_TOKEN] = class_tokens.float().cpu()
                features[start:stop, view, :, PATCH_MEAN] = patch_means.float().cpu()
                start = stop
        features.flush()


def read_class_tokens(folder: Path, images: ImageSet) -> Tensor:
    """Class tokens of the last block from the cache, `[images, views, dim]`, in the set's order."""
    files = {split: np.load(folder / f"{split}.npy", mmap_mode="r") for split in set(images.splits)}
    views, _, _, dim = next(iter(files.values())).shape[1:]
    tokens = np.empty((len(images), views, dim), dtype=np.float32)
    for split, features in files.items():
        mine = np.flatnonzero(images.splits == split)
        tokens[mine] = features[images.rows[mine], :, -1, CLASS_TOKEN]
    return torch.from_numpy(tokens)


@torch.inference_mode()
def compute_class_tokens(
    fabric: Fabric, model: VisionTransformer, sets: list[ImageSet], batch_size: int, workers: int
) -> Tensor:
    """Class tokens of the last block by a backbone that has changed, `[images, views, dim]`."""
    model.eval()
    views = []
    for images in sets:
        loader = fabric.setup_dataloaders(batches(images, batch_size, workers=workers))
        tokens = []
        for pixels, _ in tqdm(loader, desc="features", disable=None, leave=False):
            with fabric.autocast():
                *_, last = block_outputs(model, pixels)
            tokens.append(last[:, 0].float().cpu())
        views.append(torch.cat(tokens))
    return torch.stack(views, dim=1)
