"""The gradient of a batch: of all its images at once, or where memory runs out of parts that add up."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from frugalvit.errors import memory_problem
from frugalvit.training.objective import Objective
from frugalvit.training.parallel import Share
from frugalvit.training.phases import Stage

log = logging.getLogger(__name__)
KEY = "compute.on_memory_error"


class Part(NamedTuple):
    """What was computed of some images of a batch."""

    losses: dict[str, Tensor]  # means over its images, without their graph
    outputs: Any
    labels: Tensor


@dataclass
class Gradients:
    """Leaves the gradient of the mean loss over a batch in the parameters.

    With `halve`, a batch for which memory runs out is computed again in parts of half as many images,
    and so are those after it. Gradients of parts are added, each with its share of the batch, so that
    the step is that of the whole batch up to rounding; what is drawn within the model (dropout) is
    drawn for each part. Several processes exchange gradients once, after each has added up its own.
    """

    share: Share
    halve: bool = False
    most: int | None = None  # images that are computed at once; None for a process's whole batch

    def of(self, stage: Stage, objective: Objective, images: Any, labels: Tensor) -> list[Part]:
        """Compute the gradient of a batch; returns its parts, mostly one.

        Args:
            stage: whose module's parameters get it, in place of what they had.
            objective: whose `loss` is the one.
            images: what the module takes, `[batch, ...]` or a list of such.
            labels: `[batch, ...]`.

        Raises:
            RuntimeError, MemoryError: there is no memory, and no smaller part would do.
        """
        if not self.halve:
            stage.optimizer.zero_grad()
            return [self._added(stage, objective, images, labels, len(labels))]
        while (found := self._tried(stage, objective, images, labels)) is None:
            if self.share.fabric.device.type == "cuda":
                torch.cuda.empty_cache()  # blocks of the size that failed are of no use to smaller ones
        self.share.exchange(stage.optimizer)
        return found

    def agree(self) -> None:
        """Take the smallest part of all processes, which the first one notes."""
        if self.halve:
            self.most = self.share.least(self.most)

    def _tried(
        self, stage: Stage, objective: Objective, images: Any, labels: Tensor
    ) -> list[Part] | None:
        """The parts of a batch; None where memory ran out and smaller ones are to be tried."""
        stage.optimizer.zero_grad()
        size = min(self.most or len(labels), len(labels))
        module = cast(Any, stage.module)  # Fabric's
        try:
            with self.share.fabric.no_backward_sync(module, enabled=self.share.count > 1):
                return [
                    self._added(stage, objective, *part, len(labels))
                    for part in _cut(images, labels, size)
                ]
        except (MemoryError, RuntimeError) as error:
            problem = memory_problem(error)
            if problem is None:
                raise
            if reason := _needs_whole(stage.module, objective, size):
                log.warning("%s: not halved: %s", KEY, reason)
                raise
            self.most = (size + 1) // 2
        # Only now, for the error holds what the failed part had computed.
        log.warning(
            "out of memory for %d images (%s): from here on %d at once, whose gradients are added up to "
            "those of the same batch (%s)", size, problem, self.most, KEY,
        )  # fmt: skip
        return None

    def _added(
        self, stage: Stage, objective: Objective, images: Any, labels: Tensor, whole: int
    ) -> Part:
        """Add the gradient of some of a process's `whole` images to what the parameters have."""
        outputs = stage.module(images)
        losses = objective.losses(outputs, labels, images)
        loss = losses["loss"] if len(labels) == whole else losses["loss"] * (len(labels) / whole)
        self.share.fabric.backward(self.share.weighted(loss))
        told = {name: value.detach() for name, value in losses.items()}
        return Part(told, outputs.detach(), labels)


def has_batch_norm(model: nn.Module) -> bool:
    """Whether what a model makes of an image depends on the others of its batch while it trains."""
    return any(isinstance(part, _BatchNorm) for part in model.modules())


def _needs_whole(module: nn.Module, objective: Objective, size: int) -> str:
    """Why a batch cannot be computed in smaller parts; empty where it can."""
    if size == 1:
        return "a single image is too much"
    if has_batch_norm(module):
        return "this network has batch norm, which counts all images of a batch"
    if not objective.in_parts:
        return "this method's loss is no mean over images, so its parts would not add up"
    return ""


def _cut(images: Any, labels: Tensor, size: int) -> Iterator[tuple[Any, Tensor]]:
    """A batch in parts of `size` images, in order; the batch itself where it is no larger."""
    if len(labels) <= size:
        yield images, labels
        return
    for start in range(0, len(labels), size):
        rows = slice(start, start + size)
        part = images[rows] if isinstance(images, Tensor) else [each[rows] for each in images]
        yield part, labels[rows]
