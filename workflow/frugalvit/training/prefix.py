"""Frozen means computed once, also below blocks that train: what the first blocks make of images.

A phase that trains the last blocks starts, epoch after epoch, from the same tokens, as long as it draws
no new views. They are written once to the run's folder, in 16 bits and memory-mapped, and stay while
the phase lasts.
"""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from frugalvit.data.arrays import reserve
from frugalvit.data.batches import ImageSet, StateSet
from frugalvit.errors import TrainingError
from frugalvit.jobs.progress import Progress
from frugalvit.models.heads import first_half, second_half
from frugalvit.training.features import view_targets
from frugalvit.training.freezing import num_layers_of
from frugalvit.training.lengths import stores_tokens
from frugalvit.training.parallel import Share

log = logging.getLogger(__name__)


def blocks_cached(model: nn.Module, settings: dict, phase: dict) -> int:
    """First blocks whose tokens a phase stores; 0 where it stores none.

    None where all trains or heads do alone, where each epoch draws new views, where a phase is too
    short to look at any view twice, and where the model cannot be taken apart.
    """
    if not stores_tokens(settings, phase):
        return 0
    frozen = num_layers_of(model) - phase["train"]["blocks"]
    return frozen if frozen and second_half(model, frozen) else 0


class _Told(nn.Module):
    """The first half of a model and, where it learns from another's answers, these."""

    def __init__(self, half: nn.Module, teacher: nn.Module | None):
        super().__init__()
        self.first, self.teacher = half, teacher

    def forward(self, images: Tensor) -> list[Tensor]:
        state = self.first(images)
        return state if self.teacher is None else [*state, self.teacher(images).float()]


def store_states(
    share: Share,
    model: nn.Module,
    teacher: nn.Module | None,
    blocks: int,
    sets: Sequence[ImageSet],
    path: Path,
    batch_size: int,
    workers: int = 0,
    seed: int = 0,
) -> StateSet:
    """Compute what the first blocks make of every view of images, and write it to a folder.

    Args:
        share: of the processes that compute it together; each gets all.
        model: on the fabric's device.
        teacher: whose answers are stored beside it (`parallel.Frozen`).
        blocks: of the first half.
        sets: one a view.
        path: start of the files' names.
        batch_size: of the computation.
        workers: of the loader.
        seed: that draws a view of each image each epoch.

    Raises:
        TrainingError: there is no room on the disk, or a number is too large for 16 bits.
    """
    half = _Told(first_half(model, blocks), teacher).eval()
    arrays = _make_room(share, half, sets, path, blocks)
    shown = Progress("tokens", len(sets[0]) * len(sets), "images", enabled=share.first)
    with torch.inference_mode():
        for view, images in enumerate(sets):
            loader = share.whole_batches(images, batch_size, workers)
            for number, (pixels, _) in enumerate(loader):
                start = (number * share.count + share.rank) * batch_size
                with share.fabric.autocast():
                    state = half(pixels)
                for array, part in zip(arrays, state, strict=True):
                    if part.is_floating_point() and not part.isfinite().all():
                        raise TrainingError(
                            f"cache_tokens: a token after block {blocks} is too large for 16 bits; set "
                            "cache_tokens: false"
                        )
                    array[start : start + len(part), view] = part.cpu().numpy()
                shown.advance(len(pixels) * share.count)
    for array in arrays:
        array.flush()
    share.fabric.barrier()  # each process has written its part
    return StateSet(arrays, view_targets(sets), seed)


def _make_room(
    share: Share, half: nn.Module, sets: Sequence[ImageSet], path: Path, blocks: int
) -> list[np.memmap]:
    """One array a tensor of the state, `[images, views, ...]`, memory-mapped."""
    with torch.inference_mode(), share.fabric.autocast():
        pixels, _ = sets[0].__getitems__([0])
        state = half(pixels.to(share.fabric.device))
    shapes = [(len(sets[0]), len(sets), *part.shape[1:]) for part in state]
    paths = [path.with_name(f"{path.name}-{number}.npy") for number in range(len(state))]
    if share.first:
        each = sum(part[0].numel() * part.element_size() for part in state)
        size, free = each * len(sets[0]) * len(sets), shutil.disk_usage(path.parent).free
        if size > free:
            raise TrainingError(
                f"cache_tokens: {size / 1e9:.1f} GB of tokens would not fit beside the run, where "
                f"{free / 1e9:.1f} GB are free; set cache_tokens: false, or fewer views"
            )
        log.info(
            "%s after block %d of %d images in %d view%s: %.0f MB on disk, %.0f kB each",
            path.name, blocks, len(sets[0]), len(sets), "" if len(sets) == 1 else "s",
            size / 1e6, each / 1e3,
        )  # fmt: skip
        for place, part, shape in zip(paths, state, shapes):
            reserve(place, shape, part.cpu().numpy().dtype)
    share.fabric.barrier()
    return [np.load(place, mmap_mode="r+") for place in paths]
