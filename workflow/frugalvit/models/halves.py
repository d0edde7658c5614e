"""A model in two halves: what its first blocks make of images, and what goes on from there.

Where the first blocks are frozen, the first half is computed once, and the second trains on what is
stored (`training.prefix`). What passes between the halves is a list of tensors `[batch, ...]`, the
tokens after the last block of the first half at its head; tokens are in half precision.
"""

from collections.abc import Sequence
from itertools import islice

from torch import Tensor, nn
from torchvision.models import VisionTransformer

from frugalvit.models.backbone import block_outputs


class FirstHalf(nn.Module):
    """The embedding and the first blocks of a backbone."""

    def __init__(self, backbone: VisionTransformer, blocks: int):
        super().__init__()
        self.backbone = backbone
        self.blocks = blocks

    def forward(self, images: Tensor) -> list[Tensor]:
        """Tokens after the last of the blocks, `[batch, 1 + patches, dim]`."""
        tokens = next(islice(block_outputs(self.backbone, images), self.blocks - 1, None))
        return [tokens.half()]


class SecondHalf(nn.Module):
    """The other blocks, the final norm and the head; shares its weights with a model.

    It holds what trains alone, as processes that exchange gradients ask.
    """

    def __init__(self, backbone: VisionTransformer, blocks: int):
        super().__init__()
        self.blocks = nn.ModuleList(list(backbone.encoder.layers)[blocks:])
        self.norm, self.heads = backbone.encoder.ln, backbone.heads

    def forward(self, state: Sequence[Tensor]) -> Tensor:
        """The model's outputs for the images of a first half's `state`."""
        tokens = state[0].to(self.norm.weight.dtype)
        for block in self.blocks:
            tokens = block(tokens)
        return self.answer(tokens)

    def answer(self, tokens: Tensor) -> Tensor:
        """Outputs from the last block's tokens `[batch, 1 + patches, dim]`."""
        return self.heads(self.norm(tokens[:, 0]))
