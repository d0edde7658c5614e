"""Image files that no store holds, as a model sees a store's images in evaluation."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from frugalvit.data.arrays import Square, opened
from frugalvit.data.batches import as_it_is, batch_order
from frugalvit.data.decode import square_in_photo
from frugalvit.data.folders import files_below
from frugalvit.data.items import SUFFIXES
from frugalvit.data.views import resize_squares, to_tensor
from frugalvit.errors import DataError


class Part(NamedTuple):
    """The square of a photo that a model sees, in px of the photo once it is upright."""

    left: float
    top: float
    side: float

    def box(self, shares: Sequence[float]) -> list[float]:
        """A box `x0, y0, x1, y1` in px of the photo, from shares of the square's side."""
        corner = (self.left, self.top)
        return [corner[at % 2] + share * self.side for at, share in enumerate(shares)]


class PhotoBatch(NamedTuple):
    """Some photos, decoded, and those that could not be."""

    images: Tensor  # float32 [photos, 3, image_size, image_size]
    files: list[Path]
    parts: list[Part]
    faults: list[tuple[Path, str]]  # a file, and why it cannot be read


class Photos(Dataset):
    """Photos decoded as `data.prepare` does, each in the evaluation view of `data.views`.

    An item is a `PhotoBatch`, asked for by a list of positions.

    Args:
        files: of the photos.
        square: how the store of the model's study was cut.
        preprocessing: of the model's card: `image_size`, `mean`, `std`, perhaps `stored`.
    """

    def __init__(self, files: Sequence[Path], square: Square, preprocessing: dict[str, Any]):
        self.files = files
        self.square = square
        self._side = (
            preprocessing.get("stored") or square.crop
        )  # of squares that views are cut from
        self._interpolation = preprocessing.get("interpolation")
        self._how = (preprocessing["image_size"], preprocessing["mean"], preprocessing["std"])

    def __len__(self) -> int:
        return len(self.files)

    def __getitems__(self, positions: Sequence[int]) -> PhotoBatch:
        size, found, faults = self._how[0], [], []
        for file in (self.files[position] for position in positions):
            try:
                found.append((file, *self._decoded(file)))
            except DataError as error:
                faults.append((file, str(error)))
        images = torch.empty(0, 3, size, size)
        if found:
            pixels = np.stack([pixels for _, pixels, _ in found])
            pixels = resize_squares(pixels, self._side, self._interpolation)
            images = to_tensor(pixels, *self._how)
        return PhotoBatch(
            images, [file for file, *_ in found], [part for *_, part in found], faults
        )

    def batches(self, batch_size: int, workers: int) -> DataLoader:
        """All of them in order; `workers` processes decode while the caller computes."""
        order = batch_order(len(self), batch_size)
        return DataLoader(self, batch_sampler=order, collate_fn=as_it_is, num_workers=workers)

    def stored(self, position: int) -> np.ndarray:
        """The square that a store would hold of a photo, uint8 `[crop, crop, 3]`.

        Raises:
            DataError: it cannot be read.
        """
        return self._decoded(self.files[position])[0]

    def _decoded(self, file: Path) -> tuple[np.ndarray, Part]:
        with opened(file) as image:
            decoded = self.square.decode(image)
        return decoded.pixels, self._part(decoded.width, decoded.height)

    def _part(self, width: int, height: int) -> Part:
        """The view within the store's square within the photo."""
        left, top, side = square_in_photo(width, height, self.square.resize, self.square.crop)
        size, pixel = self._how[0], side / self._side
        start = (self._side - size) // 2 * pixel
        return Part(left + start, top + start, size * pixel)


def photo_files(paths: Iterable[Path]) -> list[Path]:
    """Files as they are named, and every image below a folder, by its name, in order.

    Raises:
        DataError: a folder holds no image.
    """
    found = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        inside = [file for file in files_below(path) if file.suffix.lower() in SUFFIXES]
        if not inside:
            raise DataError(f"{path}: no images in this folder; name one that holds some")
        found += inside
    return found
