"""Small bases for tests."""

from pathlib import Path

from frugalvit.models.export import export_random


def make_random_base(folder: Path, architecture: dict, image_size: int, seed: int = 0) -> None:
    """A random base with the preprocessing of scattered digits."""
    base = {
        "architecture": architecture,
        "image_size": image_size,
        "mean": [0.2, 0.2, 0.2],
        "std": [0.25, 0.25, 0.25],
    }
    export_random(base, folder, seed=seed)
