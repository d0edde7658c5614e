"""Packed A-ViT: blocks no longer compute halted tokens, which saves time.

A-ViT (`model.AViT`) masks halted tokens, which saves nothing. Here live tokens of all images
lie in one array without gaps, so that norms, projections and MLPs do no other token's work, and
attention only that within each image.
"""

import torch
from torch import Tensor

from frugalvit.methods.avit.model import AViT
from frugalvit.methods.avit.ragged_attention import ragged_block
from frugalvit.methods.tokens.answers import Answers, Leaving
from frugalvit.models.backbone import embed


class Packed(Leaving):
    """A model with halting tokens, answering as it does, without computing halted tokens.

    The array is rebuilt after every block in which a token halted: copying the others once takes a
    hundredth of what the block took for them. An image whose class token has halted is answered,
    and its other tokens are removed too.

    Args:
        model: in evaluation mode. Its `scores` are asked of live tokens `[tokens, dim]`, image
            after image, each image's in their order.
        groups: as `ragged_attention.attend_ragged` takes them.
    """

    def __init__(self, model: AViT, groups: int | None = None):
        super().__init__()
        self.model = model
        self.groups = groups

    @property
    def num_layers(self) -> int:
        """Blocks of the backbone."""
        return self.model.num_layers

    def as_answers(self, outputs: tuple[Tensor, Tensor]) -> Answers:
        """Logits and depths."""
        return Answers(*outputs)

    def image_gflops(self, depths: Tensor | None) -> list[float]:
        """GFLOPs of each image, counting live tokens only."""
        assert depths is not None, "it answers with depths"
        return self.model.live_gflops(depths).tolist()

    @torch.inference_mode()
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Answer normalised `images` `[batch, 3, image_size, image_size]`.

        Returns:
            Logits `[batch, classes]` and depths `[batch, tokens]` (int64), those of `AViT`: blocks
            that computed each token.
        """
        backbone = self.model.backbone
        if len(images) == 0:
            return (
                images.new_zeros(0, backbone.num_classes),
                torch.zeros(0, backbone.seq_length, dtype=torch.int64, device=images.device),
            )
        tokens = embed(backbone, images)
        batch, count = tokens.shape[:2]
        live = _LiveTokens(batch, count, tokens.device)
        output = torch.zeros_like(tokens[:, 0])
        depths = torch.zeros(tokens.shape[:2], dtype=torch.int64, device=tokens.device)
        remainder = torch.ones(len(images), device=tokens.device)  # of class tokens
        tokens = tokens.flatten(0, 1)
        for number, block in enumerate(backbone.encoder.layers, start=1):
            tokens = ragged_block(block, tokens, live.lengths, self.groups)
            depths.view(-1)[live.rows] = number
            score = self.model.scores(tokens, number)
            live.cumulated += score
            stays = live.cumulated < 1 - self.model.eps
            score, goes_on = score[live.starts], stays[live.starts]  # of class tokens
            probability = torch.where(goes_on, score, remainder[live.images])
            weighed = probability[:, None].to(output.dtype) * tokens[live.starts]
            output[live.images] += weighed
            remainder[live.images] -= score * goes_on
            kept = live.keep(stays, goes_on)
            if kept is not None:
                tokens = tokens.index_select(0, kept)
            if len(tokens) == 0:
                break
        return backbone.heads(backbone.encoder.ln(output)), depths


class _LiveTokens:
    """Where the live tokens of a batch come from, and how they lie in the array.

    An image that is not answered has its class token first.
    """

    def __init__(self, batch: int, tokens: int, device: torch.device):
        self._batch, self._tokens = batch, tokens
        self.cumulated = torch.zeros(batch * tokens, device=device)  # scores of each live token
        self._place(torch.arange(batch * tokens, device=device))

    def _place(self, rows: Tensor) -> None:
        self.rows = rows  # [live], position among all tokens of the batch
        self._owners = rows // self._tokens  # [live], image of each
        counts = self._owners.bincount(minlength=self._batch)
        self.images = counts.nonzero().squeeze(1)  # those not answered
        counts = counts[self.images]
        self.starts = counts.cumsum(0) - counts  # of those images, in the array
        self.lengths = counts.tolist()

    def keep(self, stays: Tensor, goes_on: Tensor) -> Tensor | None:
        """Drop tokens that do not stay `[live]` and images that do not go on `[images]`.

        Returns the positions in the array of those kept; None where all are.
        """
        open_images = torch.zeros(self._batch, dtype=torch.bool, device=stays.device)
        open_images[self.images] = goes_on
        kept = (stays & open_images[self._owners]).nonzero().squeeze(1)
        if len(kept) == len(self.rows):
            return None
        self.cumulated = self.cumulated[kept]
        self._place(self.rows[kept])
        return kept
