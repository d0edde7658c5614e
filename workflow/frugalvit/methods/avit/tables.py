"""Where tokens halted: per block, in pictures, and inside against outside the boxes of objects."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from frugalvit.data.batches import ImageSet
from frugalvit.data.thumbnails import encode
from frugalvit.evaluation.tested import TestedRun
from frugalvit.methods.avit.model import AViT, target_distribution
from frugalvit.methods.avit.points import models
from frugalvit.methods.tokens.answers import Answers
from frugalvit.methods.tokens.leaving import evaluate_points

PICTURE = 160  # px, the longest side of a depth map's image
IMAGES = 6  # drawn by difficulty where no indices are given


def evaluate(run: TestedRun, how: dict[str, Any]) -> dict[str, Any]:
    """Answer each split at each point, and say where tokens halted; see `methods.method.TablesPart`."""
    assert isinstance(run.model, AViT)
    rows, splits = evaluate_points(run, models(run.model, how))
    tables, metrics, found = [], {}, {}
    for name, split in splits.items():
        packed, masked = list(split.answers.values())[:2]
        found[name] = Halting(split.predictions, split.images, packed, masked)
        tables.append(found[name].with_depths())
        metrics[name] = split.metrics | found[name].measures()
    halting = pd.concat([part.table(how) for part in found.values()])
    pictures = found["test"].pictures(run.options["depth_images"])
    own = {"untimed": rows, "halting": halting, "depth_images": pictures}
    return run.answered(tables, metrics) | own


@dataclass(frozen=True)
class Halting:
    """What the tokens of one split did."""

    predictions: pd.DataFrame  # of the packed model, in the order of the images
    images: ImageSet
    packed: Answers
    masked: Answers  # with halting scores, which the packed model does not have for halted tokens

    @property
    def depths(self) -> Tensor:
        """Blocks that compute each token, `[images, tokens]`."""
        assert self.packed.depths is not None, "a packed model tells them"
        return self.packed.depths

    @property
    def halting(self) -> Tensor:
        """Probability to halt after each block, `[images, blocks]`."""
        assert self.masked.halting is not None, "a masked model tells it"
        return self.masked.halting

    def with_depths(self) -> pd.DataFrame:
        """The predictions, with `depth` (mean of the image's tokens, blocks) and `tokens`.

        `tokens` is the share of token states that were computed: depth over the number of blocks.
        """
        depth = self.depths.double().mean(dim=1).numpy().round(4)
        blocks = self.halting.shape[1]
        return self.predictions.assign(depth=depth, tokens=(depth / blocks).round(4))

    def measures(self) -> dict[str, Any]:
        """Depth inside and outside boxes, and how far packed and masked logits differ."""
        boxes = self.images.boxes
        difference = (self.packed.logits - self.masked.logits).abs().max().item()
        return {**depth_by_box(self.depths, boxes), "packed_difference": difference}

    def table(self, how: dict[str, Any]) -> pd.DataFrame:
        """Halting per block, beside the distribution that training aimed at; see `halting_table`.

        Args:
            how: the experiment's `alpha_distribution`, without which training aimed at none,
                `expected_depth` and `depth_std`.
        """
        blocks = self.halting.shape[1]
        target = target_distribution(blocks, how["expected_depth"], how["depth_std"])
        if not how["alpha_distribution"]:
            target = torch.full_like(target, float("nan"))
        split = self.predictions["split"].iloc[0]
        return halting_table(self.halting, self.depths, target, split)

    def pictures(self, indices: Sequence[int] | None) -> pd.DataFrame:
        """Depth maps of the images at `indices`, or of six by difficulty; see `depth_images`."""
        places = chosen_images(self.depths, indices)
        blocks = self.halting.shape[1]
        return depth_images(self.predictions, self.depths, blocks, places, self.images)


def halting_table(halting: Tensor, depths: Tensor, target: Tensor, split: str) -> pd.DataFrame:
    """One row a block: `block, split, halting, tokens, target, n`.

    Args:
        halting: probability to halt after each block, mean over tokens, `[images, blocks]`.
        depths: blocks that compute each token, `[images, tokens]`.
        target: distribution over blocks that training aimed at; NaN for none.
        split: its name.
    """
    blocks = halting.shape[1]
    counts = depths.flatten().bincount(minlength=blocks + 1)[1:].double()
    return pd.DataFrame(
        {
            "block": range(1, blocks + 1),
            "split": split,
            "halting": halting.double().mean(dim=0).numpy(),
            "tokens": (counts / counts.sum()).numpy(),
            "target": target.numpy(),
            "n": len(halting),
        }
    )


def patch_centres(side: int) -> np.ndarray:
    """Centres of the patches of a row or column, as shares of the side, `[side]`."""
    return (np.arange(side) + 0.5) / side


def depth_by_box(depths: Tensor, boxes: np.ndarray) -> dict[str, float | int | None]:
    """Mean depth of the patches whose centre lies inside and outside the box of their image.

    Each image counts once. Images without a box, or with no patch on one of the sides, are left out.

    Args:
        depths: `[images, 1 + patches]`.
        boxes: as `ImageSet.boxes` gives them.

    Returns:
        `depth_inside` and `depth_outside` (blocks; None without images), `boxed` (images).
    """
    side = round((depths.shape[1] - 1) ** 0.5)
    grids = depths[:, 1:].reshape(-1, side, side).double().numpy()
    at = patch_centres(side)
    inside, outside = [], []
    for grid, (x0, y0, x1, y1) in zip(grids, boxes):
        within = ((at >= y0) & (at < y1))[:, None] & ((at >= x0) & (at < x1))[None, :]
        if within.any() and not within.all():
            inside.append(grid[within].mean())
            outside.append(grid[~within].mean())
    return {
        "depth_inside": float(np.mean(inside)) if inside else None,
        "depth_outside": float(np.mean(outside)) if outside else None,
        "boxed": len(inside),
    }


def chosen_images(depths: Tensor, indices: Sequence[int] | None) -> list[int]:
    """Positions of the images to show: those asked for, or six by difficulty.

    By the tokens that they needed: evenly spaced from the 2nd to the 98th percentile.
    """
    if indices is not None:
        return list(indices)
    order = depths.double().mean(dim=1).argsort(stable=True).tolist()
    places = np.linspace(0.02, 0.98, min(IMAGES, len(order))) * (len(order) - 1)
    return [order[place] for place in places.round().astype(int)]


def depth_images(
    predictions: pd.DataFrame,
    depths: Tensor,
    blocks: int,
    places: Sequence[int],
    images: ImageSet,
) -> pd.DataFrame:
    """Depth maps of some images of one split, with their pictures.

    Args:
        predictions: rows of that split, in the order of `depths`.
        depths: `[images, 1 + patches]`.
        blocks: of the model.
        places: positions of the images to show.
        images: of that split.

    Returns:
        `id, split, label, class_name, predicted, predicted_name, probability, image` (base64 PNG of
        what the model sees), `side` (patches a side), `depths` (row by row), `class_depth`,
        `blocks`, `box` (x, y, w, h as shares of the side; empty without one), `position` (the order
        to show them in), `index` (in the split).
    """
    rows = predictions.iloc[list(places)].reset_index(drop=True)
    boxes = images.boxes[list(places)]
    pictures = [encode(image, largest=PICTURE) for image in images.pictures(list(places))]
    shown = depths[list(places)]
    names = images.store.class_names
    return pd.DataFrame(
        {
            **{key: rows[key] for key in ("id", "split", "label", "predicted", "probability")},
            "class_name": [names[label] for label in rows["label"]],
            "predicted_name": [names[label] for label in rows["predicted"]],
            "image": pictures,
            "side": round((depths.shape[1] - 1) ** 0.5),
            "depths": [" ".join(map(str, row.tolist())) for row in shown[:, 1:]],
            "class_depth": shown[:, 0].tolist(),
            "blocks": blocks,
            "box": [_box_text(box) for box in boxes],
            "position": range(len(places)),
            "index": list(places),
        }
    )


def _box_text(box: np.ndarray) -> str:
    if np.isnan(box).any():
        return ""
    x0, y0, x1, y1 = box
    return " ".join(f"{number:.6g}" for number in (x0, y0, x1 - x0, y1 - y0))
