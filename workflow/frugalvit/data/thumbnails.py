"""Small pictures inside CSV files: base64 PNG, so that galleries redraw from tables only."""

import base64
import io

import numpy as np
import pandas as pd
from PIL import Image

from frugalvit.data.store import Store

LARGEST = 96  # px
SMALLEST = 48  # px, so that a tiny image is still recognisable
COLUMNS = ["id", "split", "label", "class_name", "image"]


def encode(image: np.ndarray, largest: int = LARGEST, smallest: int = SMALLEST) -> str:
    """Base64 PNG of a uint8 `[h, w, 3]` image.

    Reduced to at most `largest` px; below `smallest` px pixels are repeated a whole number of
    times, as long as the result stays within `largest`.
    """
    picture = Image.fromarray(np.ascontiguousarray(image))
    side = max(picture.size)
    if side > largest:
        picture.thumbnail((largest, largest), Image.Resampling.LANCZOS)
    elif side < smallest:
        factor = min(-(-smallest // side), largest // side)
        size = (picture.width * factor, picture.height * factor)
        picture = picture.resize(size, Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def decode(text: str) -> np.ndarray:
    """The uint8 `[h, w, 3]` image that `encode` wrote."""
    with Image.open(io.BytesIO(base64.b64decode(text)), formats=["PNG"]) as picture:
        return np.asarray(picture.convert("RGB"))


def sample_images(store: Store, assignments: pd.DataFrame, limit: int = 24) -> pd.DataFrame:
    """One training image a class for the sample grid: `id, split, label, class_name, image`.

    Of more than `limit` classes, that many evenly spaced ones are shown.
    """
    rows = store.index.set_index("id")[["split", "row"]]
    train = assignments[assignments["split"] == "train"].drop_duplicates("label")
    train = train.sort_values("label")
    if len(train) > limit:
        train = train.iloc[np.linspace(0, len(train) - 1, limit).round().astype(int)]
    samples = train.copy()
    samples["image"] = [
        encode(store.images(rows.at[image, "split"])[rows.at[image, "row"]])
        for image in samples["id"]
    ]
    return samples[COLUMNS]
