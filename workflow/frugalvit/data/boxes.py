"""Boxes of objects, and targets that hold them: what a model that localizes learns from.

A box is `x0, y0, x1, y1` as shares of a square's side, left and top edge first; NaN where an image has
none. A target is `[class, x0, y0, x1, y1]`, one float32 row an image.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from frugalvit.data.store import Store


def stored_boxes(store: Store, ids: Sequence[str]) -> np.ndarray:
    """Boxes `[images, 4]` in the stored squares."""
    texts = store.index.set_index("id").loc[list(ids), "box"]
    boxes = np.full((len(texts), 4), np.nan)
    for row, text in enumerate(texts):
        if isinstance(text, str) and text:
            boxes[row] = [float(part) for part in text.split()]
    return boxes


def boxes_in_view(
    store: Store, ids: Sequence[str], image_size: int, side: int | None = None
) -> np.ndarray:
    """Boxes `[images, 4]` in the evaluation view, the middle `image_size` px of squares of `side` px.

    The stored ones have `side` where it is None.
    """
    side = side or store.image_size
    return in_window(stored_boxes(store, ids) * side, (side - image_size) // 2, image_size)


def in_window(boxes: np.ndarray, start: np.ndarray | float, size: float) -> np.ndarray:
    """Boxes in px as shares of a square window, cut at its edges; NaN where nothing of one is left.

    Args:
        boxes: `[n, 4]`, px.
        start: left and top edge of the window, px; one number, or `[n, 4]`.
        size: its side, px.
    """
    moved = ((boxes - start) / size).clip(0, 1)
    empty = (moved[:, 2] <= moved[:, 0]) | (moved[:, 3] <= moved[:, 1])
    moved[empty] = np.nan
    return moved


def with_boxes(labels: Tensor, boxes: np.ndarray) -> Tensor:
    """Targets `[n, 5]` of classes `[n]` and boxes `[n, 4]`."""
    return torch.cat([labels[:, None].float(), torch.from_numpy(boxes).float()], dim=1)


def split_targets(targets: Tensor) -> tuple[Tensor, Tensor]:
    """Classes int64 `[n]` and boxes float32 `[n, 4]` of targets `[n, 5]`."""
    return targets[:, 0].long(), targets[:, 1:]
