"""Outputs of models that reduce the number of tokens."""

from abc import abstractmethod
from typing import Any, NamedTuple

from torch import Tensor, nn


class Answers(NamedTuple):
    """What a point's model says of a set of images."""

    logits: Tensor  # [images, classes]
    depths: Tensor | None = None  # [images, tokens], where tokens halt
    halting: Tensor | None = (
        None  # [images, blocks], of a masked model, which alone has every score
    )


class Leaving(nn.Module):
    """A model that an operating point is of."""

    @property
    @abstractmethod
    def num_layers(self) -> int:
        """Blocks of its backbone."""

    @abstractmethod
    def as_answers(self, outputs: Any) -> Answers:
        """What the model's outputs for a batch say."""

    @abstractmethod
    def image_gflops(self, depths: Tensor | None) -> list[float] | float:
        """GFLOPs of each image by its depths `[images, tokens]`; of any image where all cost alike."""
