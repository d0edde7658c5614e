"""Scattered digits: scikit-learn's real handwritten digits on a larger canvas with light clutter.

The 1,797 8 x 8 scans of the UCI "Optical Recognition of Handwritten Digits" test set ship with
scikit-learn, so that the embedded study needs no download. Each scan is drawn at a random place
and size: the box is known, most of the canvas is background, some images are easier than others.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

SPLITS = ("train", "valid", "test")
# One division of the scans for every dataset drawn from them: a base pretrained on scattered
# digits has then never seen a scan that another study tests on.
_DIVISION_SEED = 0
_TRAIN_SHARE = 0.7  # of the rest, half validates: fewer scans would choose by luck


@dataclass(frozen=True)
class Digits:
    """Drawn images of one split; all arrays have length n."""

    images: np.ndarray  # uint8 [n, canvas, canvas, 3]
    labels: np.ndarray  # int [n], the digit
    boxes: np.ndarray  # float [n, 4], x0 y0 x1 y1 in fractions of the canvas
    source_digit: np.ndarray  # int [n], which of the 1,797 scans
    view: np.ndarray  # int [n], how often that scan was drawn before


@cache
def source_digits() -> dict[str, np.ndarray]:
    """Indices of the scans of each split: 70 % train, 15 % valid, 15 % test, stratified."""
    labels = load_digits().target
    how = {"random_state": _DIVISION_SEED}
    everything = np.arange(len(labels))
    train, rest = train_test_split(everything, train_size=_TRAIN_SHARE, stratify=labels, **how)
    valid, test = train_test_split(rest, train_size=0.5, stratify=labels[rest], **how)
    return {"train": np.sort(train), "valid": np.sort(valid), "test": np.sort(test)}


def draw(settings: dict, split: str, classes: list[int] | None = None) -> Digits:
    """Draw `settings[split]` images from the scans of one split.

    Args:
        settings: `dataset.digits` of a study: canvas (px), train / valid / test (images), size
            (smallest and largest digit, px), clutter (strokes an image), seed.
        split: train, valid or test.
        classes: the digits to draw; all ten when None.
    """
    bundle = load_digits()
    scans = source_digits()[split]
    if classes is not None:
        scans = scans[np.isin(bundle.target[scans], classes)]
    count = settings[split]
    random = np.random.default_rng([settings["seed"], SPLITS.index(split)])
    # Every scan is drawn equally often (within one), in an order that mixes the classes.
    rounds = -(-count // len(scans)) if count else 0
    order = np.concatenate([random.permutation(scans) for _ in range(rounds)] or [scans[:0]])[
        :count
    ]
    view = np.repeat(np.arange(rounds), len(scans))[:count]

    canvas = settings["canvas"]
    images = np.empty((count, canvas, canvas, 3), dtype=np.uint8)
    boxes = np.empty((count, 4))
    for row, scan in enumerate(order):
        image, box = _scatter(bundle.images[scan], settings, random)
        images[row] = image[..., None]
        boxes[row] = box
    return Digits(images, bundle.target[order], boxes, order, view)


def _scatter(
    scan: np.ndarray, settings: dict, random: np.random.Generator
) -> tuple[np.ndarray, tuple[float, ...]]:
    canvas = settings["canvas"]
    picture = random.normal(0.06, 0.02, (canvas, canvas))
    for _ in range(settings["clutter"]):
        _draw_stroke(picture, random)
    smallest, largest = settings["size"]
    size = int(random.integers(smallest, min(largest, canvas) + 1))
    left, top = random.integers(0, canvas - size + 1, 2)
    ink = Image.fromarray((scan * (255 / 16)).astype(np.uint8)).resize(
        (size, size), Image.Resampling.BICUBIC
    )
    digit = np.asarray(ink) / 255 * random.uniform(0.75, 1.0)
    window = picture[top : top + size, left : left + size]
    np.maximum(window, digit, out=window)
    box = tuple(float(edge) / canvas for edge in (left, top, left + size, top + size))
    return (picture.clip(0, 1) * 255).round().astype(np.uint8), box


def _draw_stroke(picture: np.ndarray, random: np.random.Generator) -> None:
    """A faint straight scratch of a few pixels: clutter that no class depends on."""
    canvas = len(picture)
    length = random.integers(2, 6)
    x, y = random.uniform(0, canvas, 2)
    angle = random.uniform(0, np.pi)
    steps = np.arange(length)
    columns = (x + steps * np.cos(angle)).astype(int) % canvas
    rows = (y + steps * np.sin(angle)).astype(int) % canvas
    picture[rows, columns] = np.maximum(picture[rows, columns], random.uniform(0.25, 0.5))
