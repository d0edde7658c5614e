"""What a phase reads: stored images, or cached features, in seeded batches."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from frugalvit.data.batch_views import BatchAugment
from frugalvit.data.boxes import boxes_in_view, in_window, stored_boxes, with_boxes
from frugalvit.data.store import Store
from frugalvit.data.views import Augment, centre_crop, resize_squares, to_tensor, view_keys


def mix_seed(*numbers: int) -> int:
    """One well-mixed 63-bit seed from several small numbers (numpy's SeedSequence)."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


class ImageSet(Dataset):
    """Images of one split of a study: the rows of the store that its assignments name.

    An item is `(images float32 [batch, 3, size, size], labels int64 [batch])`, asked for by a list
    of positions. `epoch` and `seed` choose the augmentation, whatever the order, the batch size or
    the number of workers. A set that is `boxed` gives targets `[batch, 5]` (`data.boxes`) in place of
    labels, with the boxes where they lie in the view. One whose `views_later` is set gives stored
    pixels, uint8, and what was drawn for them; `view` makes images of both, on their device.
    Where `preprocessing` names a side that is `stored`, the store's squares are resized to it first, so
    that views of every size show the same share of a photo.
    """

    def __init__(
        self,
        store: Store,
        ids: Sequence[str],
        preprocessing: dict,
        augment: dict | None = None,
        seed: int = 0,
        boxed: bool = False,
        views_later: bool = False,
    ):
        rows = store.index.set_index("id").loc[list(ids)]
        self.store = store
        self.preprocessing = preprocessing
        self.ids = list(ids)
        self.labels = torch.tensor(rows["label"].tolist())
        how = (preprocessing["image_size"], preprocessing["mean"], preprocessing["std"])
        self._how = how
        self.image_size = preprocessing["image_size"]
        self.side = (
            preprocessing.get("stored") or store.image_size
        )  # of squares that views are cut from
        self.augment = Augment(augment, *how) if augment else None
        self._later = BatchAugment(augment, *how) if augment and views_later else None
        self.seed = seed
        self.epoch = 0
        self.splits = rows["split"].to_numpy()
        self.rows = rows["row"].to_numpy()
        self._stored = stored_boxes(store, ids) if boxed else None

    def __len__(self) -> int:
        return len(self.ids)

    def raw(self, positions: Sequence[int]) -> np.ndarray:
        """Pixels that views are cut from, uint8 `[batch, side, side, 3]`."""
        stored = self.store.read(self.splits[positions], self.rows[positions])
        return resize_squares(stored, self.side, self.preprocessing.get("interpolation"))

    def pictures(self, positions: Sequence[int]) -> np.ndarray:
        """Pixels of the evaluation view, uint8 `[batch, image_size, image_size, 3]`."""
        return centre_crop(self.raw(positions), self.image_size)

    @property
    def boxes(self) -> np.ndarray:
        """Boxes `[images, 4]` in the evaluation view (`data.boxes`)."""
        return boxes_in_view(self.store, self.ids, self.image_size, self.side)

    def view(self, batch: Any) -> Tensor:
        """Images `[batch, 3, size, size]` of an item's first part, which they mostly are already."""
        return batch if self._later is None else self._later.view(*batch)

    def __getitems__(self, positions: list[int]) -> tuple[Any, Tensor]:
        pixels = self.raw(positions)
        images: Any
        if self.augment is None:
            images = to_tensor(pixels, *self._how)
        elif self._later is not None:
            keys = view_keys(self.seed, self.epoch, positions)
            images = [torch.from_numpy(pixels), self._later.draw(keys, *pixels.shape[1:3])]
        else:
            images = self.augment(pixels, view_keys(self.seed, self.epoch, positions))
        return images, self.targets(positions)

    def targets(self, positions: Sequence[int] | np.ndarray) -> Tensor:
        """What a model learns of these images in this view: labels, or with boxes targets."""
        positions = np.asarray(positions, dtype=np.int64)
        labels = self.labels[torch.from_numpy(positions)]
        if self._stored is None:
            return labels
        boxes, side = self._stored[positions], self.side
        if self.augment is None:
            start = (side - self.image_size) // 2
            return with_boxes(labels, in_window(boxes * side, start, self.image_size))
        keys = view_keys(self.seed, self.epoch, positions)
        return with_boxes(labels, self.augment.boxes(boxes, keys, side))


class FeatureSet(Dataset):
    """Cached features `[images, views, blocks, 2, dim]`; a view of each image is drawn each epoch.

    An item is `(features [batch, blocks, 2, dim], labels)`; with `grids`, arrays
    `[images, views, 1 + patches, dim]`, it is `([features, *grids [batch, 1 + patches, dim]], labels)`.
    Labels are `[images]`, or targets with the boxes of every view, `[images, views, 5]`.
    """

    def __init__(
        self, features: Tensor, labels: Tensor, seed: int = 0, grids: Sequence[np.ndarray] = ()
    ):
        self.features = features
        self.labels = labels
        self.seed = seed
        self.grids = grids
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.features)

    def __getitems__(self, positions: list[int]) -> tuple[Tensor | list[Tensor], Tensor]:
        drawn = _drawn(self.features.shape[1], len(self), self.seed, self.epoch)[positions]
        features = self.features[positions, drawn]
        labels = _of_views(self.labels, positions, drawn)
        if not self.grids:
            return features, labels
        tokens = [torch.from_numpy(grid[positions, drawn.numpy()]) for grid in self.grids]
        return [features, *tokens], labels


class StateSet(Dataset):
    """What frozen blocks made of images (`training.prefix`); a view of each is drawn each epoch.

    An item is `(tensors [batch, ...], labels)`, of arrays `[images, views, ...]`; labels as in
    `FeatureSet`.
    """

    def __init__(self, arrays: Sequence[np.ndarray], labels: Tensor, seed: int = 0):
        self.arrays = arrays
        self.labels = labels
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitems__(self, positions: list[int]) -> tuple[list[Tensor], Tensor]:
        drawn = _drawn(self.arrays[0].shape[1], len(self), self.seed, self.epoch)[positions]
        views = drawn.numpy()
        tensors = [torch.from_numpy(array[positions, views]) for array in self.arrays]
        return tensors, _of_views(self.labels, positions, drawn)


def _drawn(views: int, images: int, seed: int, epoch: int) -> Tensor:
    """The view of each image in an epoch, int64 `[images]`."""
    if views == 1:
        return torch.zeros(images, dtype=torch.int64)
    generator = torch.Generator().manual_seed(mix_seed(seed, epoch))
    return torch.randint(views, (images,), generator=generator)


def _of_views(labels: Tensor, positions: list[int], drawn: Tensor) -> Tensor:
    """Labels, or the targets of the views drawn."""
    return labels[positions, drawn] if labels.ndim > 1 else labels[positions]


def batch_order(
    count: int,
    batch_size: int,
    shuffle_seed: int | None = None,
    most: int | None = None,
    weights: Tensor | None = None,
) -> list[list[int]]:
    """Positions of each batch of `count` items, in order, or in the order that the seed draws.

    Of the `most` first of that order alone, where it is set. With `weights` `[count]` as many are
    drawn, each as often as its weight says, some more than once.
    """
    if not count:
        return []
    order = torch.arange(count)
    if shuffle_seed is not None:
        generator = torch.Generator().manual_seed(shuffle_seed)
        order = (
            torch.randperm(count, generator=generator)
            if weights is None
            else torch.multinomial(weights, count, replacement=True, generator=generator)
        )
    return [chunk.tolist() for chunk in order[:most].split(batch_size)]


Items = ImageSet | FeatureSet | StateSet


def batches(items: Items, order: Sequence[list[int]] | int, *, workers: int = 0) -> DataLoader:
    """Batches of a set: those of `order`, or all in order where it is a batch size."""
    if isinstance(order, int):
        order = batch_order(len(items), order)
    if isinstance(items, ImageSet):
        # Here, for each of the loader's processes would read the arrays anew.
        items.store.check(items.splits)
    return DataLoader(items, batch_sampler=order, collate_fn=as_it_is, num_workers=workers)


def as_it_is(batch: Any) -> Any:
    """What a set gives for a list of positions is a batch already."""
    return batch
