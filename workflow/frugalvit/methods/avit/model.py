"""Adaptive tokens: each token of a ViT halts on its own, with no new weights.

A-ViT (Yin et al. 2022, "A-ViT: Adaptive Tokens for Efficient Vision Transformer", algorithm 1) on
an unchanged backbone: the first channel of a token says after each block how much of it is done.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from frugalvit.methods.tokens.answers import Answers, Leaving
from frugalvit.models.backbone import architecture_of, embed
from frugalvit.models.flops import vit_flops
from frugalvit.models.heads import Adapted

SETTINGS = ("gamma", "beta", "eps")  # of halting, that a model is made with
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


class AViT(Adapted, Leaving):
    """A `VisionTransformer` whose tokens halt; observes it, copies nothing of it.

    After block l of L a token's score is h = sigmoid(gamma * token[0] + beta), 1 after the last. It
    halts once its scores have cumulated to 1 - eps, and no later block sees it, neither its state nor
    its key. The head reads the class tokens after all blocks, weighed by their scores, the last of
    them by the remainder, so that weights sum to 1.

    This masks and computes everything: it is what trains. `packing.Packed` removes halted tokens.

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

    def on_images(self) -> nn.Module:
        """The plain network: while only heads train, no token halts."""
        return self.backbone

    def scores(self, tokens: Tensor, block: int) -> Tensor:
        """Halting scores `[...]` (float32) of tokens `[..., dim]` after `block`, counted from 1."""
        first = tokens[..., CHANNEL].float()
        if block == len(self.backbone.encoder.layers):
            return torch.ones_like(first)
        if not self.halts:
            return torch.zeros_like(first)
        return torch.sigmoid(self.gamma * first + self.beta)

    def as_answers(self, outputs: Halted) -> Answers:
        """Logits, depths and the scores of all tokens."""
        return Answers(outputs.logits, outputs.depths, outputs.halting)

    def image_gflops(self, depths: Tensor | None) -> float:
        """GFLOPs of any image: this computes every token."""
        architecture = architecture_of(self.backbone)
        return vit_flops(architecture, architecture["num_classes"])

    def live_gflops(self, depths: Tensor) -> Tensor:
        """GFLOPs `[images]` of live tokens only, from depths `[images, tokens]`."""
        counts = tokens_per_block(depths, self.num_layers)
        architecture = architecture_of(self.backbone)
        return vit_flops(architecture, architecture["num_classes"], counts.unbind(dim=1))

    def forward(self, images: Tensor) -> Halted:
        """Answer normalised `images` `[batch, 3, image_size, image_size]`."""
        return self.answer(self.through(self.begin(images), self.num_layers))

    def begin(self, images: Tensor) -> "Underway":
        """Normalised images before the first block."""
        tokens = embed(self.backbone, images)
        state = HaltingState(tokens.shape[0], tokens.shape[1], self.eps, tokens.device)
        return Underway(tokens, state, torch.zeros_like(tokens[:, 0]), [])

    def through(self, underway: "Underway", last: int) -> "Underway":
        """Go on with a batch up to block `last`, from the one after the last it went through."""
        tokens, state, output, halting = underway
        halting = list(halting)
        for number in range(len(halting) + 1, last + 1):
            block = self.backbone.encoder.layers[number - 1]
            if number == 1 or not self.halts:
                tokens = block(tokens)
            else:
                tokens = tokens * state.live[..., None]
                # An image without any live token has nothing to attend to; what comes out of it is
                # read by nobody, but must be finite.
                keys = state.live | ~state.live.any(dim=1, keepdim=True)
                tokens = block(tokens, keys)
            probability = state.step(self.scores(tokens, number))
            output = output + probability[:, :1].to(output.dtype) * tokens[:, 0]
            halting.append(probability.mean(dim=1))
        return Underway(tokens, state, output, halting)

    def answer(self, underway: "Underway") -> Halted:
        """What the model says of a batch that went through all blocks."""
        _, state, output, halting = underway
        logits = self.backbone.heads(self.backbone.encoder.ln(output))
        return Halted(logits, state.ponder(), torch.stack(halting, dim=1), state.depths)

    def first_half(self, blocks: int) -> nn.Module:
        """With which tokens have halted."""
        return FirstHalfOfHalting(self, blocks)

    def second_half(self, blocks: int) -> nn.Module:
        """From where tokens have halted already."""
        return SecondHalfOfHalting(self, blocks)


class HaltingState:
    """Which tokens are live, and what their scores have cumulated to (algorithm 1).

    Args:
        batch: images.
        tokens: of each, the class token first.
        eps: how far from 1 a token's scores may stay when it halts.
        device: of the scores.
    """

    PARTS = ("live", "cumulated", "remainder", "went_through", "depths")

    def __init__(self, batch: int, tokens: int, eps: float, device: torch.device | None = None):
        self.eps = eps
        self.live = torch.ones(batch, tokens, dtype=torch.bool, device=device)
        self.cumulated = torch.zeros(batch, tokens, device=device)
        self.remainder = torch.ones(batch, tokens, device=device)
        self.went_through = torch.zeros(batch, tokens, dtype=torch.int64, device=device)
        self.depths = torch.zeros_like(self.went_through)  # blocks that have to compute each token

    def step(self, scores: Tensor) -> Tensor:
        """Take in the scores `[batch, tokens]` after one block; 1 where every live token must halt.

        Returns:
            The probability to halt here, `[batch, tokens]`: the score of a token that goes on, the
            remainder of one that halts, nothing for one that had halted. Over blocks it sums to 1.
        """
        self.went_through = self.went_through + self.live
        # An image whose class token has halted is answered: its other tokens are computed no more.
        self.depths = self.depths + (self.live & self.live[:, :1])
        self.cumulated = self.cumulated + scores
        stays = self.live & (self.cumulated < 1 - self.eps)
        probability = torch.where(stays, scores, self.remainder) * self.live
        self.remainder = self.remainder - scores * stays
        self.live = stays
        return probability

    def ponder(self) -> Tensor:
        """Mean over tokens of blocks gone through plus remainder, `[batch]`, once all have halted."""
        return (self.went_through + self.remainder).mean(dim=1)


class Underway(NamedTuple):
    """A batch within a model with halting tokens."""

    tokens: Tensor  # [batch, tokens, dim]
    state: HaltingState
    output: Tensor  # [batch, dim]: class tokens weighed so far
    halting: list[Tensor]  # of each block gone through, [batch]


class FirstHalfOfHalting(nn.Module):
    """The first blocks of a model whose tokens halt."""

    def __init__(self, model: AViT, blocks: int):
        super().__init__()
        self.model, self.blocks = model, blocks

    def forward(self, images: Tensor) -> list[Tensor]:
        """Tokens after the last of the blocks, the weighed class token, `[batch, blocks]` of
        probabilities to halt, and the parts of `HaltingState`.
        """
        begun = self.model.begin(images)
        tokens, state, output, halting = self.model.through(begun, self.blocks)
        parts = [getattr(state, name) for name in HaltingState.PARTS]
        return [tokens.half(), output.float(), torch.stack(halting, dim=1), *parts]


class SecondHalfOfHalting(nn.Module):
    """The last blocks of a model whose tokens halt, its norm and head."""

    def __init__(self, model: AViT, blocks: int):
        super().__init__()
        self.layers = nn.ModuleList(list(model.backbone.encoder.layers)[blocks:])
        self.norm, self.heads = model.backbone.encoder.ln, model.backbone.heads
        self._model = (model,)  # in a tuple: its frozen blocks are no part of this module

    def forward(self, stored: Sequence[Tensor]) -> Halted:
        """The model's answers to the images of a first half."""
        (model,) = self._model
        tokens, output, halting, *parts = stored
        kind = self.norm.weight.dtype
        state = HaltingState(len(tokens), tokens.shape[1], model.eps, tokens.device)
        for name, part in zip(HaltingState.PARTS, parts):
            setattr(state, name, part)
        underway = Underway(tokens.to(kind), state, output.to(kind), list(halting.unbind(dim=1)))
        return model.answer(model.through(underway, model.num_layers))


def tokens_per_block(depths: Tensor, num_layers: int) -> Tensor:
    """Tokens that each block computes, `[images, blocks]`, from depths `[images, tokens]`."""
    blocks = torch.arange(1, num_layers + 1, device=depths.device)
    return (depths[:, :, None] >= blocks).sum(dim=1)


def target_distribution(num_layers: int, expected_depth: float | None, std: float) -> Tensor:
    """Where tokens should halt, `[blocks]`: a normal around `expected_depth`, discretised, sum 1.

    Args:
        num_layers: blocks.
        expected_depth: its mean (blocks); None for two thirds of them.
        std: its standard deviation (blocks).
    """
    mean = num_layers * 2 / 3 if expected_depth is None else expected_depth
    blocks = torch.arange(1, num_layers + 1, dtype=torch.float64)
    # As a softmax, so that a narrow normal far from every block does not vanish.
    return (-0.5 * ((blocks - mean) / std) ** 2).softmax(dim=0).float()


def adapt(backbone: VisionTransformer, settings: dict[str, Any]) -> AViT:
    """Halting tokens in a backbone, no new weights; see `methods.method.ModelPart`."""
    return AViT(backbone, *(settings["halting"][key] for key in SETTINGS))


def describe(model: AViT) -> dict[str, Any]:
    """How tokens halt."""
    return {"halting": {key: getattr(model, key) for key in SETTINGS}}


def restore(backbone: VisionTransformer, card: dict[str, Any]) -> AViT:
    """The model of a card."""
    return AViT(backbone, **card["halting"])
