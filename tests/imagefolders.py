"""Tiny datasets that the data tests make."""

from pathlib import Path

import numpy as np
from PIL import Image


def settings(**changes) -> dict:
    """A complete `dataset` section, as the study hands it over."""
    digits = {"canvas": 24, "train": 30, "valid": 10, "test": 20, "clutter": 3, "size": [10, 18]}
    return {
        "name": "tiny",
        "source": "folder",
        "path": None,
        "sha256": None,
        "layout": None,
        "class_names": None,
        "classes": None,
        "limit_per_class": None,
        "resize": 16,
        "crop": 16,
        "stretch": None,
        "skip_bad_images": False,
        "max_pixels": 1_000_000,
        "digits": digits | {"seed": 0},
    } | changes


def noise(seed: int, height: int = 20, width: int = 24) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write_image(path: Path, seed: int = 0, **size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(seed, **size)).save(path)
    return path


def write_folder(root: Path, counts: dict[str, int]) -> Path:
    """Write distinct images: `{"train/rose": 3, "test/rose": 1}`."""
    seed = 0
    for place, count in counts.items():
        for number in range(count):
            seed += 1
            write_image(root / place / f"image_{number:02d}.png", seed)
    return root


def photos(folder: Path, classes: int, each: int) -> Path:
    """Files that are called images: what counts them looks at names alone."""
    for place in range(classes):
        (folder / f"class_{place}").mkdir(parents=True)
        for number in range(each):
            (folder / f"class_{place}" / f"{number:03d}.jpg").touch()
    return folder
