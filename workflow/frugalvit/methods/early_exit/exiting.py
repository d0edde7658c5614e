"""Batched inference that saves time: images that have exited are removed from the batch.

Blocks run one after the other on the rows of a shrinking batch. A row whose image is done may be
carried along for a while, its answer kept as it was, where dropping it would not pay.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from frugalvit.methods.early_exit.criteria import Step, log_probabilities, step_of
from frugalvit.methods.early_exit.model import EarlyExits
from frugalvit.models.backbone import embed
from frugalvit.operating_point import NEVER

# Dropping rows copies the others once: on a CPU, thousandths of what one block takes for them. On
# a GPU the copy is as cheap, but a batch that is little smaller is hardly faster.
COMPACT_FROM = {"cpu": 0.0}
COMPACT_FROM_ELSEWHERE = 0.125


class Exiting(nn.Module):
    """A model with early exits at one operating point.

    Decides as `criteria.decide` does on the logits of all exits, image by image, whatever the
    batch. With a threshold of `criteria.NEVER` it is the plain model: no exit is asked.

    Args:
        model: in evaluation mode.
        criterion: one of `criteria.CRITERIA`, or a step of one's own.
        threshold: an image leaves at the first exit whose score reaches it.
        temperatures: one an exit; None for 1 everywhere.
        compact_from: share of the batch's rows that must be done before they are dropped; below
            it they are carried along. None: any on a CPU, an eighth elsewhere. Above 1, none is
            ever dropped, and only a batch that is done altogether stops early.
    """

    def __init__(
        self,
        model: EarlyExits,
        criterion: str | Step,
        threshold: float,
        temperatures: Sequence[float] | Tensor | None = None,
        compact_from: float | None = None,
    ):
        super().__init__()
        self.model = model
        self.step = step_of(criterion) if isinstance(criterion, str) else criterion
        self.threshold = threshold
        if temperatures is None:
            temperatures = [1.0] * len(model.exit_after)
        self.temperatures = torch.as_tensor(temperatures).tolist()
        self.compact_from = compact_from

    @torch.inference_mode()
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Answer `images` `[batch, 3, image_size, image_size]`, in their order.

        Returns:
            Log-probabilities `[batch, classes]` (float32) and the index of the exit where each
            image left, `[batch]` (int64).
        """
        backbone = self.model.backbone
        results = _Results(len(images), backbone.num_classes, images.device)
        if len(images) == 0:
            return results.answers, results.exits
        if self.threshold == NEVER:
            answer = log_probabilities(backbone(images), self.temperatures[-1])
            results.write(answer, len(self.temperatures) - 1, None, None)
        else:
            self._leave_early(images, results)
        return results.answers, results.exits

    def _leave_early(self, images: Tensor, results: "_Results") -> None:
        model = self.model
        exits = {block: position for position, block in enumerate(model.exit_after)}
        share = self.compact_from
        if share is None:
            share = COMPACT_FROM.get(images.device.type, COMPACT_FROM_ELSEWHERE)
        tokens, state = embed(model.backbone, images), None
        rows = None  # the image of each row; None while row k is image k
        waiting = None  # whether each row's image is yet to leave; None while all are
        count = len(tokens)
        for block, layer in enumerate(model.backbone.encoder.layers, start=1):
            tokens = layer(tokens)
            if block not in exits:
                continue
            position = exits[block]
            logits = model.exit_logits(block, tokens)
            score, answer, state = self.step(logits, self.temperatures[position], state)
            if block == model.exit_after[-1]:
                results.write(answer, position, rows, waiting)
                return
            stays = score < self.threshold
            if waiting is not None:
                stays &= waiting
            staying = stays.nonzero().squeeze(1)  # an exit's one synchronisation
            if len(staying) == count:
                continue
            results.write(answer, position, rows, waiting)
            waiting, count = stays, len(staying)
            if count == 0:
                return
            if len(tokens) - count >= share * len(tokens):
                tokens = tokens.index_select(0, staying)
                state = {name: part.index_select(0, staying) for name, part in state.items()}
                rows = staying if rows is None else rows.index_select(0, staying)
                waiting = None


class _Results:
    """The answer and exit that each image has had last.

    Images that have yet to leave are written with the others: a later exit overwrites them.
    """

    def __init__(self, batch: int, num_classes: int, device: torch.device):
        self.answers = torch.empty(batch, num_classes, dtype=torch.float32, device=device)
        self.exits = torch.empty(batch, dtype=torch.int64, device=device)

    def write(
        self, answer: Tensor, position: int, rows: Tensor | None, waiting: Tensor | None
    ) -> None:
        """Write the exit at `position`, but for rows that are not `waiting`: they have left."""
        exits = torch.full((len(answer),), position, device=answer.device)
        if waiting is not None:
            answers_before, exits_before = self.answers, self.exits
            if rows is not None:
                answers_before = answers_before.index_select(0, rows)
                exits_before = exits_before.index_select(0, rows)
            answer = torch.where(waiting[:, None], answer, answers_before)
            exits = torch.where(waiting, exits, exits_before)
        if rows is None:
            self.answers, self.exits = answer, exits
        else:
            self.answers.index_copy_(0, rows, answer)
            self.exits.index_copy_(0, rows, exits)
