"""Early exits: classification heads after chosen blocks of an unchanged backbone.

BranchyNet (Teerapittayanon et al. 2016) for transformers: each exit reads the tokens that a block
hands on and answers from them. The exit after the last block is the model's own norm and head, so
that with every other exit ignored the logits are the plain model's.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from frugalvit.errors import ConfigError
from frugalvit.models.backbone import CLASS_TOKEN, block_outputs, pool
from frugalvit.models.halves import FirstHalf, SecondHalf
from frugalvit.models.heads import Adapted


class LinearExit(nn.Module):
    """LayerNorm, class token joined with the patch mean, Linear."""

    reads_grid = False

    def __init__(self, dim: int, num_classes: int, eps: float):
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=eps)
        self.classifier = nn.Linear(2 * dim, num_classes)

    def forward(self, pooled: Tensor) -> Tensor:
        """Logits `[batch, classes]` from pooled tokens `[batch, 2, dim]`."""
        return self.classifier(self.norm(pooled).flatten(1))


class MLPExit(nn.Module):
    """The layers of `LinearExit`, with one hidden layer before the last."""

    reads_grid = False

    def __init__(self, dim: int, num_classes: int, eps: float, hidden_dim: int):
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=eps)
        self.classifier = nn.Sequential(
            nn.Linear(2 * dim, hidden_dim), nn.GELU(), nn.Linear(hidden_dim, num_classes)
        )

    def forward(self, pooled: Tensor) -> Tensor:
        """Logits `[batch, classes]` from pooled tokens `[batch, 2, dim]`."""
        return self.classifier(self.norm(pooled).flatten(1))


class ConvExit(nn.Module):
    """Depth-wise convolution over the patch grid, then the pooled grid joined with the class token.

    For shallow blocks, whose class token has seen little of the image yet (LGViT, Xu et al. 2023,
    section 3.2, whose local perception head this simplifies).
    """

    reads_grid = True

    def __init__(self, dim: int, num_classes: int, eps: float, hidden_dim: int):
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=eps)
        self.reduce = nn.Conv2d(dim, hidden_dim, kernel_size=1)
        self.mix = nn.Conv2d(hidden_dim, hidden_dim, kernel_size=3, padding=1, groups=hidden_dim)
        self.activation = nn.GELU()
        self.classifier = nn.Linear(hidden_dim + dim, num_classes)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits `[batch, classes]` from all tokens `[batch, 1 + patches, dim]`."""
        tokens = self.norm(tokens)
        side = math.isqrt(tokens.shape[1] - 1)
        grid = tokens[:, 1:].transpose(1, 2).unflatten(2, (side, side))
        grid = self.activation(self.mix(self.activation(self.reduce(grid))))
        return self.classifier(torch.cat([grid.mean(dim=(2, 3)), tokens[:, 0]], dim=1))


def head_kind(head: Mapping[str, Any], block: int) -> str:
    """The kind of head after a block: `shallow` up to `shallow_blocks`, else `kind`."""
    return head["shallow"] if head["shallow"] and block <= head["shallow_blocks"] else head["kind"]


def _build_head(
    head: Mapping[str, Any], block: int, dim: int, num_classes: int, eps: float
) -> nn.Module:
    kind = head_kind(head, block)
    if kind == "linear":
        return LinearExit(dim, num_classes, eps)
    built = {"mlp": MLPExit, "conv": ConvExit}[kind]
    return built(dim, num_classes, eps, head["hidden_dim"])


def exit_blocks(exits: str | Sequence[int], num_layers: int) -> list[int]:
    """Blocks with an exit, ascending; the last block, whose exit is the model's own head, always.

    Args:
        exits: `all`, or block numbers from 1.
        num_layers: blocks of the backbone.

    Raises:
        ConfigError: a block that the backbone lacks, or none but the last. The message lacks the
            key, which the caller knows.
    """
    named = range(1, num_layers + 1) if isinstance(exits, str) else exits
    beyond = [block for block in named if block > num_layers]
    if beyond:
        raise ConfigError(
            f"exit after block {beyond[0]}, but the base has {num_layers} blocks; "
            f"use 1 to {num_layers}"
        )
    blocks = sorted({*named, num_layers})
    if len(blocks) == 1:
        raise ConfigError("no exit before the last block; name an earlier one")
    return blocks


class EarlyExits(Adapted):
    """A `VisionTransformer` with heads after chosen blocks; observes it, copies nothing of it.

    Args:
        backbone: with its own head, which is the last exit.
        exits: blocks with an exit, as `exit_blocks` gives them.
        head: `kind` and `shallow` (`linear`, `mlp`, `conv`, or None), `shallow_blocks`,
            `hidden_dim` (of mlp and conv).
    """

    def __init__(self, backbone: VisionTransformer, exits: Sequence[int], head: Mapping[str, Any]):
        super().__init__()
        self.backbone = backbone
        self.exit_after = list(exits)
        self.head = dict(head)
        dim, num_classes = backbone.hidden_dim, backbone.num_classes
        self.exits = nn.ModuleDict(
            {
                str(block): _build_head(head, block, dim, num_classes, backbone.encoder.ln.eps)
                for block in self.exit_after[:-1]
            }
        )

    def on_features(self) -> nn.Module:
        """All exits on cached features."""
        return ExitsOnFeatures(self)

    def first_half(self, blocks: int) -> nn.Module:
        """With what the exits before its last block read."""
        return FirstHalfOfExits(self, blocks)

    def second_half(self, blocks: int) -> nn.Module:
        """All exits, those before its first block on what they read there."""
        return SecondHalfOfExits(self, blocks)

    @property
    def feature_blocks(self) -> list[int]:
        """Blocks with an exit."""
        return self.exit_after

    @property
    def grid_blocks(self) -> list[int]:
        """Blocks whose exit reads every token, not only the pooled ones."""
        return [int(block) for block, head in self.exits.items() if head.reads_grid]

    def exit_logits(self, block: int, tokens: Tensor) -> Tensor:
        """Logits `[batch, classes]` of the exit after `block`, from tokens `[batch, tokens, dim]`."""
        if block == self.exit_after[-1]:
            return self.backbone.heads(self.backbone.encoder.ln(tokens[:, 0]))
        head = self.exits[str(block)]
        return head(tokens if head.reads_grid else pool(tokens))

    def outputs(self, images: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Yield block and logits `[batch, classes]` of every exit, as the tokens reach it."""
        for block, tokens in enumerate(block_outputs(self.backbone, images), start=1):
            if block in self.exit_after:
                yield block, self.exit_logits(block, tokens)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of all exits `[batch, exits, classes]`, in order of depth."""
        return torch.stack([logits for _, logits in self.outputs(images)], dim=1)


class ExitsOnFeatures(nn.Module):
    """All exits on cached features; shares its weights with a model.

    Reads `[batch, exits, 2, dim]`, the pooled tokens after every block that has an exit; where heads
    read the grid, a list of this and of `[batch, 1 + patches, dim]` for each such block.
    """

    def __init__(self, model: EarlyExits):
        super().__init__()
        self.norm = model.backbone.encoder.ln
        self.heads = model.backbone.heads
        self.exits = model.exits

    def forward(self, inputs: Tensor | Sequence[Tensor]) -> Tensor:
        """Logits `[batch, exits, classes]`, as the whole model gives them for the same images."""
        features, *grids = [inputs] if isinstance(inputs, Tensor) else inputs
        waiting = iter(grids)
        logits = [
            head(next(waiting) if head.reads_grid else features[:, position])
            for position, head in enumerate(self.exits.values())
        ]
        logits.append(self.heads(self.norm(features[:, -1, CLASS_TOKEN])))
        return torch.stack(logits, dim=1)


class FirstHalfOfExits(FirstHalf):
    """The first blocks, and what the exits on the way read."""

    def __init__(self, model: EarlyExits, blocks: int):
        super().__init__(model.backbone, blocks)
        self.reads_grid = {
            int(block): head.reads_grid
            for block, head in model.exits.items()
            if int(block) < blocks
        }

    def forward(self, images: Tensor) -> list[Tensor]:
        """Tokens after the last of the blocks, then for each exit before it what it reads."""
        read = []
        for number, tokens in enumerate(block_outputs(self.backbone, images), start=1):
            if number == self.blocks:
                break
            if number in self.reads_grid:
                read.append(tokens.half() if self.reads_grid[number] else pool(tokens).float())
        return [tokens.half(), *read]


class SecondHalfOfExits(SecondHalf):
    """The last blocks, and all exits."""

    def __init__(self, model: EarlyExits, blocks: int):
        super().__init__(model.backbone, blocks)
        self.exits = model.exits
        self.first = blocks  # whose tokens it starts from

    def forward(self, state: Sequence[Tensor]) -> Tensor:
        """Logits `[batch, exits, classes]`, as the whole model gives them for the same images."""
        kind = self.norm.weight.dtype
        tokens, waiting = state[0].to(kind), iter(state[1:])
        heads = {int(block): head for block, head in self.exits.items()}
        logits = [head(next(waiting).to(kind)) for at, head in heads.items() if at < self.first]
        for number in range(self.first, self.first + len(self.blocks) + 1):
            if number > self.first:
                tokens = self.blocks[number - self.first - 1](tokens)
            if head := heads.get(number):
                logits.append(head(tokens if head.reads_grid else pool(tokens)))
        logits.append(self.answer(tokens))
        return torch.stack(logits, dim=1)


def adapt(backbone: VisionTransformer, settings: dict[str, Any]) -> EarlyExits:
    """Fresh exits around a backbone; see `methods.method.ModelPart`.

    Raises:
        ConfigError: see `exit_blocks`.
    """
    blocks = exit_blocks(settings["exits"], len(backbone.encoder.layers))
    return EarlyExits(backbone, blocks, settings["exit_head"])


def describe(model: EarlyExits) -> dict[str, Any]:
    """Where the exits are, and their heads."""
    return {"exits": {"after": model.exit_after, "head": model.head}}


def restore(backbone: VisionTransformer, card: dict[str, Any]) -> EarlyExits:
    """The model of a card."""
    return EarlyExits(backbone, card["exits"]["after"], card["exits"]["head"])
