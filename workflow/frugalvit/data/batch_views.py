"""Random views of whole batches, on the device that the images are on; one draw an image.

`data.views.Augment` does it image by image, in the loader. From the same keys both draw the same flips,
crops, shifts and erased rectangles. TrivialAugmentWide (Müller and Hutter 2021) draws its operations
from the keys too, and each is torchvision's, computed for all images that drew it at once.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from frugalvit.data.views import Augment, Draws, erased_boxes
from frugalvit.errors import ConfigError

# torchvision's TrivialAugmentWide, in its order: operation -> whether its magnitude has a sign.
OPERATIONS = {
    "Identity": False,
    "ShearX": True,
    "ShearY": True,
    "TranslateX": True,
    "TranslateY": True,
    "Rotate": True,
    "Brightness": True,
    "Color": True,
    "Contrast": True,
    "Sharpness": True,
    "Posterize": False,
    "Solarize": False,
    "AutoContrast": False,
    "Equalize": False,
}
BINS = 31
_LARGEST = {
    "TranslateX": 32.0,
    "TranslateY": 32.0,
    "Rotate": 135.0,
}  # of others that have a sign .99
_POLICY = np.uint64(0xA0761D6478BD642F)  # sets these draws apart from those that both share
_WHITE = 255.0


class BatchAugment(Augment):
    """As `Augment`, in two steps: draw on the host, then compute where the images are."""

    def __init__(self, settings: dict, *how: Any) -> None:
        super().__init__(settings, *how)
        if self.settings["auto_augment"]:
            raise ConfigError(
                "augment: auto_augment is not computed on the device; set it to false"
            )

    def draw(self, keys: np.ndarray, height: int, width: int) -> dict[str, Any]:
        """What becomes of each image of a batch, for `view`.

        Args:
            keys: uint64 `[batch]`, see `views.view_keys`.
            height: of the stored images, px.
            width: of them, px.
        """
        drawn, size = self._draw(keys, height, width), self.image_size
        if drawn.windows is not None:
            height = width = size
        rows = _places(height, size, drawn.offsets[:, 0])
        columns = _places(width, size, drawn.offsets[:, 1])
        columns[drawn.flip] = columns[drawn.flip, ::-1]
        found: dict[str, Any] = {
            "rows": torch.from_numpy(rows),
            "columns": torch.from_numpy(columns),
        }
        if drawn.windows is not None:
            found["windows"] = torch.from_numpy(drawn.windows.astype(np.float32))
        if self.settings["random_erasing"]:
            boxes = erased_boxes(drawn.erased, size, size)
            boxes[~drawn.erase] = 0
            found["erased"] = torch.from_numpy(boxes)
        if self.settings["trivial_augment"]:
            found |= _draw_operations(keys)
        return found

    def view(self, images: Tensor, drawn: dict[str, Any]) -> Tensor:
        """Views of images, float32 `[batch, 3, image_size, image_size]`, normalised.

        Args:
            images: uint8 `[batch, h, w, 3]`.
            drawn: by `draw`, moved to the images' device.
        """
        if "windows" in drawn:
            views = _resampled(images, drawn, self.image_size)
        else:
            batch = torch.arange(len(images), device=images.device)[:, None, None]
            places = (batch, drawn["rows"][:, :, None], drawn["columns"][:, None, :])
            views = images[places].permute(0, 3, 1, 2).float()
        if "order" in drawn:
            views = _operated(views, drawn)
        deviation = views.new_tensor(self.std)[:, None, None]
        centre = views.new_tensor(self.mean)[:, None, None]
        views = views * (1 / (255 * deviation)) - centre / deviation
        if "erased" in drawn:
            views = views.masked_fill(_inside(drawn["erased"], self.image_size), 0.0)
        return views


def _places(side: int, size: int, offsets: np.ndarray) -> np.ndarray:
    """Where each pixel of a view comes from along one axis, int64 `[batch, size]`; edges repeat."""
    start = (side - size) // 2 + offsets[:, None]
    return np.clip(start + np.arange(size), 0, side - 1)


def _resampled(images: Tensor, drawn: dict[str, Any], size: int) -> Tensor:
    """Crops resized with antialiasing, then shifted and mirrored: two products with matrices."""
    top, left, tall, wide = drawn["windows"].unbind(1)
    rows = _weights(top, tall, images.shape[1], size)
    columns = _weights(left, wide, images.shape[2], size)
    rows = rows.gather(1, drawn["rows"][:, :, None].expand(-1, -1, rows.shape[2]))
    columns = columns.gather(1, drawn["columns"][:, :, None].expand(-1, -1, columns.shape[2]))
    planes = images.permute(0, 3, 1, 2).float()
    across = (
        planes @ columns.transpose(1, 2)[:, None]
    ).round_()  # uint8 between both, in torchvision
    return (rows[:, None] @ across).round_().clamp_(0, _WHITE)


def _weights(start: Tensor, length: Tensor, side: int, size: int) -> Tensor:
    """Share of each stored pixel in each pixel of a crop along one axis, `[batch, size, side]`.

    A triangle as wide as a pixel of the crop, at least of the stored image, as torchvision's
    bilinear filter with antialiasing.
    """
    scale = (length / size)[:, None, None]
    at = torch.arange(size, device=start.device)[None, :, None]
    stored = torch.arange(side, device=start.device)[None, None, :] + 0.5
    begin, end = start[:, None, None], (start + length)[:, None, None]
    distance = stored - (begin + (at + 0.5) * scale)
    weights = (1 - distance.abs() / scale.clamp(min=1.0)).clamp(min=0.0)
    weights = weights * ((stored > begin) & (stored < end))
    return weights / weights.sum(dim=2, keepdim=True)


def _inside(boxes: Tensor, size: int) -> Tensor:
    """Places in rectangles `[batch, 4]` (top, left, height, width): bool `[batch, 1, size, size]`."""
    at = torch.arange(size, device=boxes.device)
    top, left, tall, wide = (edge[:, None] for edge in boxes.unbind(1))
    rows = (at >= top) & (at < top + tall)
    columns = (at >= left) & (at < left + wide)
    return (rows[:, :, None] & columns[:, None, :])[:, None]


def _draw_operations(keys: np.ndarray) -> dict[str, Any]:
    """The operation of each image, and how strong: images in the order of their operations."""
    numbers = Draws(keys ^ _POLICY).uniform(3)
    operations = np.floor(numbers[:, 0] * len(OPERATIONS)).astype(np.int64)
    magnitudes = np.zeros(len(keys))
    bins = np.floor(numbers[:, 1] * BINS).astype(np.int64)
    for index, (name, signed) in enumerate(OPERATIONS.items()):
        own = operations == index
        signs = np.where(signed & (numbers[own, 2] <= 0.5), -1.0, 1.0)
        magnitudes[own] = signs * magnitudes_of(name)[bins[own]]
    order = np.argsort(operations, kind="stable")
    counts = np.bincount(operations, minlength=len(OPERATIONS))
    return {
        "order": torch.from_numpy(order),
        "magnitudes": torch.from_numpy(magnitudes[order].astype(np.float32)),
        "counts": counts.tolist(),
    }


def magnitudes_of(name: str) -> np.ndarray:
    """The strengths of an operation, `[31]`."""
    if name == "Posterize":
        return np.round(8 - np.arange(BINS) / ((BINS - 1) / 6))
    if name == "Solarize":
        return np.linspace(1.0, 0.0, BINS, dtype=np.float32)
    if not OPERATIONS[name]:
        return np.zeros(BINS)
    return np.linspace(0.0, _LARGEST.get(name, 0.99), BINS, dtype=np.float32)


def _operated(views: Tensor, drawn: dict[str, Any]) -> Tensor:
    ordered = views[drawn["order"]]
    parts = ordered.split(drawn["counts"])
    strengths = drawn["magnitudes"].split(drawn["counts"])
    done = [
        operate(name, part, strength) if len(part) else part
        for name, part, strength in zip(OPERATIONS, parts, strengths)
    ]
    return torch.empty_like(views).index_copy_(0, drawn["order"], torch.cat(done))


def operate(name: str, images: Tensor, magnitudes: Tensor) -> Tensor:
    """An operation on images `[batch, 3, h, w]` of whole numbers from 0 to 255, a magnitude each."""
    strength = magnitudes[:, None, None, None]
    if name in ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"):
        return _moved(images, _matrices(name, magnitudes, *images.shape[2:]))
    return {
        "Identity": lambda: images,
        "Brightness": lambda: (images * (1 + strength)).clamp(0, _WHITE).floor(),
        "Color": lambda: _blended(images, _grey(images), 1 + strength),
        "Contrast": lambda: _blended(images, _grey(images).mean((1, 2, 3), True), 1 + strength),
        "Sharpness": lambda: _sharpened(images, 1 + strength),
        "Posterize": lambda: (images / 2 ** (8 - strength)).floor() * 2 ** (8 - strength),
        "Solarize": lambda: torch.where(images >= _WHITE * strength, _WHITE - images, images),
        "AutoContrast": lambda: tv.autocontrast(images.to(torch.uint8)).float(),
        "Equalize": lambda: tv.equalize(images.to(torch.uint8)).float(),
    }[name]()


def _grey(images: Tensor) -> Tensor:
    red, green, blue = images.unbind(1)
    return (red * 0.2989).add(green, alpha=0.587).add(blue, alpha=0.114).floor()[:, None]


def _blended(images: Tensor, others: Tensor, ratio: Tensor) -> Tensor:
    return (images * ratio + others * (1 - ratio)).clamp(0, _WHITE).floor()


def _sharpened(images: Tensor, ratio: Tensor) -> Tensor:
    kernel = images.new_full((3, 1, 3, 3), 1 / 13)
    kernel[:, :, 1, 1] = 5 / 13
    blurred = F.conv2d(images, kernel, groups=3).round()
    inner = images[..., 1:-1, 1:-1]
    sharp = images.clone()
    sharp[..., 1:-1, 1:-1] = inner + (blurred - inner) * (1 - ratio)
    return sharp.clamp(0, _WHITE).floor()


def _matrices(name: str, magnitudes: Tensor, height: int, width: int) -> Tensor:
    """From places of the result to places of the image, px from the centre: `[batch, 2, 3]`."""
    one, zero = torch.ones_like(magnitudes), torch.zeros_like(magnitudes)
    m = magnitudes
    rows = {
        "ShearX": lambda: (one, m, m * height * 0.5, zero, one, zero),
        "ShearY": lambda: (one, zero, zero, m, one, m * width * 0.5),
        "TranslateX": lambda: (one, zero, -m.trunc(), zero, one, zero),
        "TranslateY": lambda: (one, zero, zero, zero, one, -m.trunc()),
        "Rotate": lambda: (
            m.deg2rad().cos(), -m.deg2rad().sin(), zero, m.deg2rad().sin(), m.deg2rad().cos(), zero,
        ),
    }[name]()  # fmt: skip
    return torch.stack(rows, dim=1).unflatten(1, (2, 3))


def _moved(images: Tensor, matrices: Tensor) -> Tensor:
    """The nearest pixel of where each comes from; black outside."""
    height, width = images.shape[2:]
    x = torch.linspace((1 - width) * 0.5, (width - 1) * 0.5, width, device=images.device)
    y = torch.linspace((1 - height) * 0.5, (height - 1) * 0.5, height, device=images.device)
    places = torch.stack(
        [x.expand(height, -1), y[:, None].expand(-1, width), torch.ones_like(x).expand(height, -1)],
        -1,
    )
    scaled = matrices.transpose(1, 2) / images.new_tensor([0.5 * width, 0.5 * height])
    grid = places.view(1, -1, 3).expand(len(images), -1, -1).bmm(scaled)
    grid = grid.view(-1, height, width, 2)
    return F.grid_sample(images, grid, mode="nearest", padding_mode="zeros", align_corners=False)
