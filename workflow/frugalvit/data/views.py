"""Stored images become tensors: the fixed view of evaluation, the random views of training.

Every random view is drawn from its image's own key, so that the batch's size, its order and the
number of workers change nothing, and the global generators are left alone.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from frugalvit.data.boxes import in_window
from frugalvit.errors import ConfigError

_OFF = {
    "horizontal_flip": 0.0,
    "crop_scale": None,
    "crop_ratio": (3 / 4, 4 / 3),
    "trivial_augment": False,
    "auto_augment": False,
    "shift": 0,
    "random_erasing": 0.0,
}
_CROP_TRIES = 10  # as torchvision's RandomResizedCrop
_BOX_DRAWS = 2 * _CROP_TRIES + 2
_GOLDEN = 0x9E3779B97F4A7C15  # SplitMix64's step
_ERASED_AREA = (0.02, 0.33)  # share of the image, as torchvision's RandomErasing
_ERASED_RATIO = (0.3, 3.3)


def to_tensor(
    images: np.ndarray, image_size: int, mean: Sequence[float], std: Sequence[float]
) -> Tensor:
    """The evaluation view: centre crop and normalisation.

    Args:
        images: uint8 `[batch, h, w, 3]`, at least `image_size` px high and wide.
        image_size: px.
        mean: of each channel, in 0..1.
        std: of each channel, in 0..1.

    Returns:
        float32 `[batch, 3, image_size, image_size]`.
    """
    return normalize(_planar(centre_crop(images, image_size)), mean, std)


def normalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """uint8 `[batch, 3, h, w]` to float32, (value / 255 - mean) / std."""
    deviation = torch.tensor(std, dtype=torch.float32).view(1, 3, 1, 1)
    centre = torch.tensor(mean, dtype=torch.float32).view(1, 3, 1, 1)
    return images.float().mul_(1 / (255 * deviation)).sub_(centre / deviation)


def view_keys(seed: int, view: int, images: Sequence[int] | np.ndarray) -> np.ndarray:
    """One key an image for `Augment`, from the run's seed, the epoch or cached view, the image.

    Returns:
        uint64 `[n]`.
    """
    keys = _mix(np.asarray(images, dtype=np.uint64) + np.uint64(1))
    for number in (view, seed):
        keys = _mix(keys ^ _mix(np.asarray([number], dtype=np.uint64) + np.uint64(_GOLDEN)))
    return keys


class Augment:
    """Random views of training images, drawn per image.

    Args:
        settings: `horizontal_flip` (probability), `crop_scale` and `crop_ratio` (area share and
            aspect ratio of a random resized crop; no `crop_scale`: centre crop), `shift` (px, at
            most, each way; edge pixels are repeated), `trivial_augment` (TrivialAugmentWide,
            arXiv:2103.10158), `auto_augment` (AutoAugment's policy for ImageNet,
            arXiv:1805.09501), `random_erasing` (probability, arXiv:1708.04896; a rectangle takes
            the mean colour). What is left out is off.
        image_size: px that the model sees.
        mean: of each channel, in 0..1.
        std: of each channel, in 0..1.

    Raises:
        ConfigError: both `trivial_augment` and `auto_augment`.
        ValueError: a setting that there is not.
    """

    def __init__(
        self, settings: dict, image_size: int, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        unknown = sorted(set(settings) - set(_OFF))
        if unknown:
            raise ValueError(f"augment: unknown setting {unknown[0]!r}")
        self.settings = {**_OFF, **settings}
        self.image_size, self.mean, self.std = image_size, mean, std
        self._policy = _policy(self.settings)

    def __call__(self, images: np.ndarray, keys: Sequence[int] | np.ndarray) -> Tensor:
        """Draw one view of each image.

        Args:
            images: uint8 `[batch, h, w, 3]`, at least `image_size` px high and wide.
            keys: uint64 `[batch]`, see `view_keys`; the same key gives the same view.

        Returns:
            float32 `[batch, 3, image_size, image_size]`, normalised.
        """
        keys = np.asarray(keys, dtype=np.uint64)
        if len(keys) != len(images):
            raise ValueError(f"{len(images)} images but {len(keys)} keys")
        drawn = self._draw(keys, *images.shape[1:3])
        if drawn.windows is not None:
            images = self._crop(images, drawn.windows)
        if self.settings["shift"]:
            images = _shifted(images, self.image_size, drawn.offsets, self.settings["shift"])
        views = _planar(centre_crop(images, self.image_size))
        if drawn.flip.any():
            chosen = torch.from_numpy(drawn.flip)
            views[chosen] = views[chosen].flip(-1)
        if self._policy is not None:
            views = _apply(self._policy, views, keys)
        tensor = normalize(views, self.mean, self.std)
        _erase(tensor, drawn.erase, drawn.erased)
        return tensor

    def boxes(self, boxes: np.ndarray, keys: Sequence[int] | np.ndarray, side: int) -> np.ndarray:
        """Where boxes lie in the views that the same keys give of their images.

        Args:
            boxes: `[batch, 4]`, as `data.boxes` has them, in the stored squares.
            keys: as `__call__` takes them.
            side: of the stored squares, px.

        Returns:
            `[batch, 4]`, cut at the view's edges; NaN where nothing of a box is left.

        Raises:
            ValueError: operations of a policy move what they do not tell of.
        """
        if self._policy is not None:
            raise ValueError("trivial_augment and auto_augment move objects, but no boxes")
        drawn = self._draw(np.asarray(keys, dtype=np.uint64), side, side)
        moved = boxes * side
        if drawn.windows is not None:
            top, left, tall, wide = drawn.windows.T
            start = np.stack([left, top, left, top], axis=1)
            moved = (moved - start) * self.image_size / np.stack([wide, tall, wide, tall], axis=1)
            side = self.image_size
        start = np.full_like(moved, (side - self.image_size) // 2)
        if self.settings["shift"]:
            start += drawn.offsets[:, [1, 0, 1, 0]]
        seen = in_window(moved, start, self.image_size)
        mirrored = seen[drawn.flip]
        mirrored[:, [0, 2]] = 1 - mirrored[:, [2, 0]]
        seen[drawn.flip] = mirrored
        return seen

    def _draw(self, keys: np.ndarray, height: int, width: int) -> "_Drawn":
        draw = Draws(keys)
        # Every draw happens whatever is on, so that one setting does not reshuffle the others.
        flip = draw.uniform(1)[:, 0] < self.settings["horizontal_flip"]
        reach = self.settings["shift"]
        offsets = np.floor(draw.uniform(2) * (2 * reach + 1)).astype(int) - reach
        cropped = draw.uniform(_BOX_DRAWS)
        erase = draw.uniform(1)[:, 0] < self.settings["random_erasing"]
        erased = draw.uniform(_BOX_DRAWS)
        windows = None
        if self.settings["crop_scale"] is not None:
            scale, ratio = self.settings["crop_scale"], self.settings["crop_ratio"]
            windows = _random_boxes(cropped, height, width, scale, ratio)
        return _Drawn(flip, offsets, windows, erase, erased)

    def _crop(self, images: np.ndarray, windows: np.ndarray) -> np.ndarray:
        size = [self.image_size, self.image_size]
        cropped = np.empty((len(images), *size, 3), dtype=np.uint8)
        for row, (top, left, tall, wide) in enumerate(windows.tolist()):
            # A channels-last window, as torchvision's fast uint8 path wants it.
            window = images[row, top : top + tall, left : left + wide].copy()
            image = torch.from_numpy(window).permute(2, 0, 1)
            cropped[row] = F.resize(image, size, antialias=True).permute(1, 2, 0).numpy()
        return cropped


def _policy(settings: dict) -> v2.Transform | None:
    """What draws an image's operations on colour and shape, if any."""
    if settings["trivial_augment"] and settings["auto_augment"]:
        raise ConfigError(
            "augment: trivial_augment and auto_augment are both on; set one of them to false"
        )
    if settings["auto_augment"]:
        return v2.AutoAugment(v2.AutoAugmentPolicy.IMAGENET)
    return v2.TrivialAugmentWide() if settings["trivial_augment"] else None


def _apply(policy: v2.Transform, views: Tensor, keys: np.ndarray) -> Tensor:
    augmented = torch.empty_like(views)
    with _own_generator() as generator:
        for row, key in enumerate(keys.tolist()):
            generator.manual_seed(key >> 1)
            augmented[row] = policy(views[row])
    return augmented


class _Drawn(NamedTuple):
    """What was drawn for each view of a batch."""

    flip: np.ndarray  # bool [n]
    offsets: np.ndarray  # int [n, 2]: down, right, px
    windows: np.ndarray | None  # int [n, 4] of random crops: top, left, height, width, px
    erase: np.ndarray  # bool [n]
    erased: np.ndarray  # uniform numbers [n, 22] for the erased rectangles


class Draws:
    """Uniform numbers of every key, one after the other: SplitMix64, counted per key."""

    def __init__(self, keys: np.ndarray) -> None:
        self._keys, self._count = keys, 0

    def uniform(self, columns: int) -> np.ndarray:
        """float64 `[n, columns]` in [0, 1)."""
        steps = np.arange(self._count + 1, self._count + 1 + columns, dtype=np.uint64)
        self._count += columns
        bits = _mix(self._keys[:, None] + steps * np.uint64(_GOLDEN))
        return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(values: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser (Steele, Lea and Flood, OOPSLA 2014)."""
    with np.errstate(over="ignore"):
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _random_boxes(
    numbers: np.ndarray, height: int, width: int, scale: Sequence[float], ratio: Sequence[float]
) -> np.ndarray:
    """Random rectangles by area share and aspect ratio: int `[n, 4]`, top, left, height, width.

    As torchvision's RandomResizedCrop, the first of ten tries that fits; else the whole image.
    `numbers` are uniform, `[n, 22]`.
    """
    area = numbers[:, :_CROP_TRIES] * (scale[1] - scale[0]) + scale[0]
    low, high = np.log(ratio[0]), np.log(ratio[1])
    aspect = np.exp(numbers[:, _CROP_TRIES : 2 * _CROP_TRIES] * (high - low) + low)
    wide = np.sqrt(area * height * width * aspect).round().astype(int)
    tall = np.sqrt(area * height * width / aspect).round().astype(int)
    fits = (wide > 0) & (wide <= width) & (tall > 0) & (tall <= height)
    rows, first, some = np.arange(len(fits)), fits.argmax(axis=1), fits.any(axis=1)
    wide = np.where(some, wide[rows, first], width)
    tall = np.where(some, tall[rows, first], height)
    top = np.floor(numbers[:, -2] * (height - tall + 1)).astype(int)
    left = np.floor(numbers[:, -1] * (width - wide + 1)).astype(int)
    return np.stack([top, left, tall, wide], axis=1)


def resize_squares(images: np.ndarray, side: int, how: str | None = None) -> np.ndarray:
    """Images uint8 `[n, h, w, 3]` resized to `[n, side, side, 3]`, with antialiasing.

    Args:
        images: squares.
        side: px.
        how: interpolation, in torchvision's words; bilinear where None.
    """
    if images.shape[1:3] == (side, side):
        return images
    planes = torch.from_numpy(images).permute(0, 3, 1, 2)
    mode = F.InterpolationMode(how or "bilinear")
    return F.resize(planes, [side, side], mode, antialias=True).permute(0, 2, 3, 1).numpy()


def centre_crop(images: np.ndarray, size: int) -> np.ndarray:
    """The middle of images `[..., h, w, 3]`: `[..., size, size, 3]`."""
    height, width = images.shape[-3:-1]
    if size > min(height, width):
        raise ValueError(f"image_size {size} is larger than the stored {height} x {width} px")
    top, left = (height - size) // 2, (width - size) // 2
    return images[..., top : top + size, left : left + size, :]


def _shifted(images: np.ndarray, size: int, offsets: np.ndarray, reach: int) -> np.ndarray:
    """Windows off the centre by `offsets` (int `[n, 2]`: down, right); edge pixels are repeated."""
    height, width = images.shape[1:3]
    top, left = (height - size) // 2, (width - size) // 2
    margin = ((0, 0), (reach, reach), (reach, reach), (0, 0))
    padded = np.pad(images, margin, mode="edge")
    windows = np.empty((len(images), size, size, 3), dtype=np.uint8)
    for row, (down, right) in enumerate(offsets.tolist()):
        y, x = top + reach + down, left + reach + right
        windows[row] = padded[row, y : y + size, x : x + size]
    return windows


def _planar(images: np.ndarray) -> Tensor:
    """uint8 `[batch, h, w, 3]` to a new uint8 tensor `[batch, 3, h, w]`."""
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


def erased_boxes(numbers: np.ndarray, height: int, width: int) -> np.ndarray:
    """Rectangles to erase, int `[n, 4]` (top, left, height, width), from uniform numbers `[n, 22]`."""
    return _random_boxes(numbers, height, width, _ERASED_AREA, _ERASED_RATIO)


def _erase(views: Tensor, chosen: np.ndarray, numbers: np.ndarray) -> None:
    boxes = erased_boxes(numbers, *views.shape[2:])
    for row in np.flatnonzero(chosen).tolist():
        top, left, tall, wide = boxes[row].tolist()
        views[row, :, top : top + tall, left : left + wide] = 0.0  # the mean, once normalised


@contextmanager
def _own_generator() -> Iterator[torch.Generator]:
    """torchvision draws from the global CPU generator: lend it, and give it back as it was."""
    state = torch.get_rng_state()
    try:
        yield torch.default_generator
    finally:
        torch.set_rng_state(state)
