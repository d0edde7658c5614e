"""Weights that networks of experiments begin with, in place of a base's: named in `network.weights`."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from frugalvit.data.mirror import at_home, find_file
from frugalvit.models.networks.network_shape import PUBLISHED


def begins_with(settings: Mapping[str, Any]) -> dict[str, str] | None:
    """The `kind` and the `weights` of an entry's or a run's own network; None where it is random."""
    network = settings.get("network") or {}
    return {key: network[key] for key in ("kind", "weights")} if network.get("weights") else None


def network_name(begins: Mapping[str, str]) -> str:
    """What the folder of such weights is called: their kind, and a digest of where they come from."""
    text = json.dumps(begins, sort_keys=True)
    return f"{begins['kind']}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def check_weights(experiments: Mapping[str, dict[str, Any]], mirror: str | None) -> None:
    """Look for the weights files of a validated study; a home folder's `~` is filled in.

    Raises:
        ConfigError: there is no such file.
    """
    for name, raw in experiments.items():
        own = begins_with(raw)
        if own and own["weights"] != PUBLISHED:
            raw["network"]["weights"] = path = at_home(own["weights"])
            find_file(path, mirror, f"experiments.{name}.network.weights")


def weights_stamp(begins: Mapping[str, str], mirror: str | None) -> list | None:
    """Name, size and date of a weights file; of what is published nothing changes."""
    if begins["weights"] == PUBLISHED:
        return None
    path = find_file(begins["weights"], mirror, "network.weights")
    return [path.name, path.stat().st_size, int(path.stat().st_mtime)]
