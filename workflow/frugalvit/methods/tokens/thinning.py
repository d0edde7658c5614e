"""What methods share that thin tokens out by a fixed number in each block, without training."""

from abc import abstractmethod
from collections.abc import Callable
from itertools import pairwise

from torch import Tensor
from torchvision.models import VisionTransformer

from frugalvit.methods.tokens.answers import Answers, Leaving
from frugalvit.models.backbone import architecture_of
from frugalvit.models.flops import block_flops, flops_by_part, num_tokens
from frugalvit.models.heads import Adapted


class Thinned(Adapted, Leaving):
    """A `VisionTransformer` whose blocks thin tokens out; observes it, copies nothing of it.

    Args:
        backbone: with its own norm and head, as it was trained.
        leaving: from a block's number (from 1) and the tokens that it reads, class token included,
            how many leave it.
    """

    def __init__(self, backbone: VisionTransformer, leaving: Callable[[int, int], int]):
        super().__init__()
        self.backbone = backbone
        self._entering = num_tokens(architecture_of(backbone))
        self.tokens: list[int] = []  # that each block hands on, class token included
        for block in range(1, len(backbone.encoder.layers) + 1):
            count = self.tokens[-1] if self.tokens else self._entering
            self.tokens.append(leaving(block, count))

    @abstractmethod
    def thinning_flops(self, before: int, after: int) -> int:
        """FLOPs of leaving `after` of `before` tokens in a block, besides its own."""

    def gflops(self) -> float:
        """GFLOPs per image, counted as `models.flops` does, with the products of thinning."""
        architecture = architecture_of(self.backbone)
        flops = sum(flops_by_part(architecture, architecture["num_classes"], []).values())
        for before, after in pairwise([self._entering, *self.tokens]):
            flops += sum(block_flops(architecture, before).values())
            if after < before:
                # Tokens are removed between a block's attention and its MLP.
                flops -= block_flops(architecture, before - after)["mlp"]
                flops += self.thinning_flops(before, after)
        return flops / 1e9

    def image_gflops(self, depths: Tensor | None) -> float:
        """The same for every image."""
        return self.gflops()

    def as_answers(self, outputs: Tensor) -> Answers:
        """Logits only: no token halts."""
        return Answers(outputs)
