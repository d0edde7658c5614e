"""How long a phase is, in epochs and images, and whether it looks at any view of an image twice."""

import math
from typing import Any


def with_lengths(settings: dict[str, Any], images: int) -> dict[str, Any]:
    """A run's settings with as many epochs a phase as its `max_inputs` leaves.

    Args:
        settings: the run's.
        images: that train.
    """
    schedule = []
    for phase in settings["schedule"]:
        epochs = phase["epochs"]
        if most := phase.get("max_inputs"):
            epochs = min(epochs, math.ceil(most / images))
        schedule.append(phase | {"epochs": epochs})
    return settings | {"schedule": schedule}


def inputs_of(phase: dict, epoch: int, images: int) -> int:
    """Images that train in an epoch (from 0) of a phase."""
    most = phase.get("max_inputs")
    return images if most is None else min(images, most - epoch * images)


def total_steps(phase: dict, images: int) -> int:
    """Optimiser steps of a phase."""
    batch, last = phase["batch_size"], phase["epochs"] - 1
    return last * math.ceil(images / batch) + math.ceil(inputs_of(phase, last, images) / batch)


def validates(phase: dict, epoch: int) -> bool:
    """Whether an epoch (from 0) of a phase is validated: every `validate_every`th, and the last."""
    return (epoch + 1) % phase.get("validate_every", 1) == 0 or epoch + 1 == phase["epochs"]


def stores_tokens(settings: dict[str, Any], phase: dict) -> bool:
    """Whether a phase of the last blocks stores the tokens of those before (`training.prefix`).

    Args:
        settings: the run's: `cache_tokens`, `views`.
        phase: of its schedule.
    """
    if not isinstance(phase["train"], dict) or not settings["cache_tokens"]:
        return False
    views = settings["views"] if phase["augment"] else 1
    return 0 < views < phase["epochs"]
