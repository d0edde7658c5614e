"""Data-parallel training: what one of several processes does of each batch, and what all did.

The batch size is the global one, whatever the number of processes: process r of W takes images
r, r + W, … of each training batch, and whole batches r, r + W, … where nothing trains. Losses are
weighted so that the gradients which DDP averages are those of one process with the whole batch.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from frugalvit.data.batches import ImageSet, Items, batch_order, batches
from frugalvit.devices.fabric import Fabric


class Share:
    """One process's part of the work."""

    def __init__(self, fabric: Fabric):
        self.fabric = fabric
        self.rank = fabric.global_rank
        self.count = fabric.world_size
        self._weight = 1.0  # this process's images of the current batch, over all images of it

    def training(
        self,
        items: Items,
        batch_size: int,
        shuffle_seed: int,
        workers: int,
        most: int | None = None,
        weights: Tensor | None = None,
    ) -> Iterable[tuple[Any, Tensor, int]]:
        """This process's part of each shuffled batch: inputs, labels, and how many images of them count.

        Of all images, or of the `most` first ones, drawn by `weights` where they are given. A process
        without an image in the last, smaller batch gets one that does not count: it has to take part
        in the exchange of gradients.
        """
        order = batch_order(len(items), batch_size, shuffle_seed, most, weights)
        parts = [chunk[self.rank :: self.count] or chunk[:1] for chunk in order]
        for chunk, (inputs, labels) in zip(order, self._load(items, parts, workers)):
            own = len(chunk[self.rank :: self.count])
            self._weight = own / len(chunk)
            yield inputs, labels, own

    def whole_batches(
        self, items: Items, batch_size: int, workers: int
    ) -> Iterable[tuple[Any, Tensor]]:
        """This process's batches of a split, in order: over all processes each image comes once."""
        order = batch_order(len(items), batch_size)
        return self._load(items, order[self.rank :: self.count], workers)

    def _load(self, items: Items, order: Sequence[list[int]], workers: int) -> DataLoader:
        loader = batches(items, order, workers=workers)
        return cast(
            DataLoader, self.fabric.setup_dataloaders(loader, use_distributed_sampler=False)
        )

    def weighted(self, loss: Tensor) -> Tensor:
        """The loss to go back from, for a mean over this process's images of the batch."""
        return loss if self.count == 1 else loss * (self._weight * self.count)

    def mean(self, values: Tensor) -> Tensor:
        """Mean `[...]` over the whole batch of `values` `[images, ...]`, of which some lie here.

        For losses that are no mean over images. Its gradient reaches this process's values alone,
        with the size that `weighted` and the average over processes make right.
        """
        own = values.mean(dim=0)
        if self.count == 1:
            return own
        whole = own.detach() * self._weight
        torch.distributed.all_reduce(whole)  # Fabric's has every process wait for all, each step
        return whole + (own - own.detach())

    def exchange(self, optimizer: torch.optim.Optimizer) -> None:
        """Average the gradients of all processes, where going back did not (`no_backward_sync`)."""
        if self.count == 1:
            return
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    torch.distributed.all_reduce(parameter.grad)
                    parameter.grad /= self.count

    def least(self, number: int | None) -> int | None:
        """The smallest number of any process; None where none has one."""
        if self.count == 1:
            return number
        numbers: list[Any] = [None] * self.count
        torch.distributed.all_gather_object(numbers, number)
        return min((each for each in numbers if each is not None), default=None)

    def totals(
        self, sums: dict[str, float], answers: list[tuple[Tensor, Tensor]]
    ) -> tuple[dict[str, float], Tensor, Tensor]:
        """Sums over all processes, and all their answers: classes predicted and true `[images]`."""
        predicted, labels = (
            torch.cat([pair[side] for pair in answers]).cpu() if answers else torch.empty(0).long()
            for side in (0, 1)
        )
        if self.count == 1:
            return sums, predicted, labels
        parts: list[Any] = [None] * self.count
        torch.distributed.all_gather_object(parts, (sums, predicted, labels))
        added: dict[str, float] = defaultdict(float)
        for each, _, _ in parts:
            for name, value in each.items():
                added[name] += value
        predicted, labels = (torch.cat([part[side] for part in parts]) for side in (1, 2))
        return dict(added), predicted, labels

    def compute(
        self,
        images: ImageSet,
        batch_size: int,
        workers: int,
        shape: tuple[int, ...],
        function: Callable[[Tensor, slice], Tensor],
    ) -> Tensor:
        """`function(pixels, rows)` of every image, `[images, *shape]` on the CPU of each process.

        Args:
            images: the set.
            batch_size: images a step.
            workers: of the loader.
            shape: of one image's result.
            function: from images `[batch, ...]`, and which rows of the set they are, to results
                `[batch, *shape]` on the device.
        """
        result = torch.empty(len(images), *shape)
        own = iter(self.whole_batches(images, batch_size, workers))
        spans = [
            slice(start, min(start + batch_size, len(images)))
            for start in range(0, len(images), batch_size)
        ]
        for start in range(0, len(spans), self.count):
            turn = spans[start : start + self.count]
            sent = torch.zeros(batch_size, *shape, device=self.fabric.device)
            if self.rank < len(turn):
                pixels, _ = next(own)
                sent[: len(pixels)] = function(pixels, turn[self.rank]).float()
            all_sent = cast(Tensor, self.fabric.all_gather(sent)) if self.count > 1 else sent[None]
            for rows, values in zip(turn, all_sent.cpu()):
                result[rows] = values[: rows.stop - rows.start]
        return result

    @property
    def first(self) -> bool:
        """Whether this process writes what all have in common."""
        return self.rank == 0

    def one_by_one(self) -> AbstractContextManager:
        """The first process runs the block first, then the others."""
        return self.fabric.rank_zero_first()


class Frozen(nn.Module):
    """A model that only answers: on the fabric's device, in its precision, no part of any gradient."""

    def __init__(self, fabric: Fabric, model: nn.Module):
        super().__init__()
        self.fabric = fabric
        self.model = fabric.to_device(model.eval().requires_grad_(False))

    @torch.no_grad()
    def forward(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """The model's answers to images; those stored last in a state (`training.prefix`)."""
        if not isinstance(images, Tensor):
            return images[-1]
        with self.fabric.autocast():
            return self.model(images)
