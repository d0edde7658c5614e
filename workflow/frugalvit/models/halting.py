"""Adaptive tokens: each token of a ViT halts on its own, with no new weights.

A-ViT (Yin et al. 2022, "A-ViT: Adaptive Tokens for Efficient Vision Transformer", algorithm 1) on
an unchanged backbone: the first channel of a token says after each block how much of it is done.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from frugalvit.models.attention import masked_block
from frugalvit.models.backbone import embed

# (gamma, beta): of the paper (section 4, DeiT-tiny), of its authors' published models, and of the
# student project among our sources, which shares the paper's.
PRESETS = {"paper": (5.0, -10.0), "official": (10.0, -30.0), "student": (5.0, -10.0)}
CHANNEL = 0  # of every token, that is read as its halting score


class Halted(NamedTuple):
    """What a model with halting tokens says of a batch."""

    logits: Tensor  # [batch, classes]
    ponder: Tensor  # [batch], mean over tokens of blocks gone through plus remainder (section 3.2)
    halting: Tensor  # [batch, blocks], mean over tokens of the probability to halt; sums to 1
    depths: Tensor  # [batch, tokens], int64: blocks that have to compute each token

    def detach(self) -> "Halted":
        """The same without gradients."""
        return Halted(*(part.detach() for part in self))


class AViT(nn.Module):
    """A `VisionTransformer` whose tokens halt; observes it, copies nothing of it.

    After block l of L a token's score is h = sigmoid(gamma * token[0] + beta), 1 after the last. It
    halts once its scores have cumulated to 1 - eps, and no later block sees it, neither its state nor
    its key. The head reads the class tokens after all blocks, weighed by their scores, the last of
    them by the remainder, so that weights sum to 1.

    This masks and computes everything: it is what trains. `inference.packing` removes halted tokens.

    Args:
        backbone: with its own norm and head.
        gamma: slope of the score.
        beta: its offset; the lower, the later tokens of an untrained model halt.
        eps: how far from 1 a token's scores may stay when it halts.
        halts: whether tokens halt; where not, this is the plain model.
    """

    def __init__(
        self,
        backbone: VisionTransformer,
        gamma: float,
        beta: float,
        eps: float = 0.01,
        halts: bool = True,
    ):
        super().__init__()
        self.backbone = backbone
        self.gamma = gamma
        self.beta = beta
        self.eps = eps
        self.halts = halts

    def scores(self, tokens: Tensor, block: int) -> Tensor:
        """Halting scores `[...]` (float32) of tokens `[..., dim]` after `block`, counted from 1."""
        first = tokens[..., CHANNEL].float()
        if block == len(self.backbone.encoder.layers):
            return torch.ones_like(first)
        if not self.halts:
            return torch.zeros_like(first)
        return torch.sigmoid(self.gamma * first + self.beta)

    def forward(self, images: Tensor) -> Halted:
        """Answer normalised `images` `[batch, 3, image_size, image_size]`."""
        backbone = self.backbone
        tokens = embed(backbone, images)
        live = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        cumulated = torch.zeros(live.shape, device=tokens.device)
        remainder = torch.ones_like(cumulated)
        went_through = torch.zeros_like(live, dtype=torch.int64)
        depths = torch.zeros_like(went_through)
        output = torch.zeros_like(tokens[:, 0])
        halting = []
        for number, block in enumerate(backbone.encoder.layers, start=1):
            if number == 1 or not self.halts:
                tokens = block(tokens)
            else:
                tokens = tokens * live[..., None]
                # An image without any live token has nothing to attend to; what comes out of it is
                # read by nobody, but must be finite.
                tokens = masked_block(block, tokens, live | ~live.any(dim=1, keepdim=True))
            score = self.scores(tokens, number)
            cumulated = cumulated + score
            stays = live & (cumulated < 1 - self.eps)
            if number == len(backbone.encoder.layers):
                stays = torch.zeros_like(live)
            probability = torch.where(stays, score, remainder) * live
            output = output + probability[:, :1].to(output.dtype) * tokens[:, 0]
            halting.append(probability.mean(dim=1))
            went_through = went_through + live
            depths = depths + (live & live[:, :1])  # an image whose class token halted is answered
            remainder = remainder - score * stays
            live = stays
        ponder = (went_through + remainder).mean(dim=1)
        logits = backbone.heads(backbone.encoder.ln(output))
        return Halted(logits, ponder, torch.stack(halting, dim=1), depths)


def tokens_per_block(depths: Tensor, num_layers: int) -> Tensor:
    """Tokens that each block computes, `[images, blocks]`, from depths `[images, tokens]`."""
    blocks = torch.arange(1, num_layers + 1, device=depths.device)
    return (depths[:, :, None] >= blocks).sum(dim=1)


def target_distribution(num_layers: int, expected_depth: float, std: float) -> Tensor:
    """Where tokens should halt, `[blocks]`: a normal around `expected_depth`, discretised, sum 1."""
    blocks = torch.arange(1, num_layers + 1, dtype=torch.float64)
    density = torch.exp(-0.5 * ((blocks - expected_depth) / std) ** 2)
    return (density / density.sum()).float()
