"""What an export takes for single images, beside its run and the plain network, taking turns."""

import time
from typing import Any

import numpy as np
import torch

from frugalvit.data.batches import ImageSet
from frugalvit.evaluation.cost import Bystanders
from frugalvit.export.parity import Answerer

IMAGES = 32  # evenly spaced over the split
SECONDS = 1.0  # of each model, at least
LEAST_PASSES = 5


def measure(models: dict[str, Answerer], images: ImageSet) -> dict[str, Any]:
    """Time of an image at batch 1, normalisation included, decoding not.

    Args:
        models: by name.
        images: of which some are taken.

    Returns:
        `ms` of each model: the mean over images of an image's quickest pass, which other work disturbs
        least; `images`, `passes`, `threads`, and `busy_cores`, what else kept the machine busy.
    """
    count = min(IMAGES, len(images))
    places = np.linspace(0, len(images) - 1, count).round().astype(int)
    pixels = images.raw(places.tolist())
    for model in models.values():
        model(pixels[:1])
    taken: dict[str, list[list[float]]] = {name: [] for name in models}
    bystanders, started = Bystanders(), time.perf_counter()
    while (
        time.perf_counter() - started < SECONDS * len(models)
        or len(next(iter(taken.values()))) < LEAST_PASSES
    ):
        for passes in taken.values():
            passes.append([])
        for image in pixels:
            for name, model in models.items():
                before = time.perf_counter()
                model(image[None])
                taken[name][-1].append(time.perf_counter() - before)
    return {
        "ms": {
            name: round(float(np.min(passes, axis=0).mean()) * 1e3, 4)
            for name, passes in taken.items()
        },
        "images": count,
        "passes": len(next(iter(taken.values()))),
        "threads": torch.get_num_threads(),
        "busy_cores": round(bystanders.cores(), 2),
    }
