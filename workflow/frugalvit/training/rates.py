"""Learning rates that suit how much there is to learn from, where a study gives none."""

import math
from typing import Any

from frugalvit.words import heads_alone

HEADS = 0.001  # of phases that train heads alone, whatever the number of images
BLOCKS = 0.0001  # of phases that train blocks, from `ENOUGH` training images on
ENOUGH = 1000  # below, a pretrained backbone forgets faster than so few images teach it
DECAY, DECAY_LAYERS = 0.75, 12  # from head to embeddings: as 0.75 a block does in 12 blocks


def with_rates(settings: dict[str, Any], images: int, num_layers: int) -> dict[str, Any]:
    """A run's settings with `lr` and `layer_decay` of every phase filled in.

    A phase without `lr` has `HEADS` where it trains heads alone, else
    `BLOCKS * min(1, sqrt(images / ENOUGH))`, falling from block to block by
    `0.75 ** (12 / num_layers)`. A phase with one has one rate for all, unless it says otherwise.

    Args:
        settings: the run's; those of its phases may be None.
        images: that train.
        num_layers: blocks of its model; 0 of a network without any, which has one rate for all.
    """
    schedule = []
    for phase in settings["schedule"]:
        lr, decay = phase["lr"], phase["layer_decay"]
        gently = lr is None and not heads_alone(phase["train"])
        if decay is None:
            decay = DECAY ** (DECAY_LAYERS / num_layers) if gently and num_layers else 1.0
        if lr is None:
            lr = BLOCKS * min(1.0, math.sqrt(images / ENOUGH)) if gently else HEADS
        schedule.append(phase | {"lr": lr, "layer_decay": decay})
    return settings | {"schedule": schedule}
