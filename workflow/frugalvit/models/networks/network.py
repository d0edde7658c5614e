"""A network as training and evaluation see it: images in, outputs out, an embedding between."""

from abc import abstractmethod
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from frugalvit.models.networks.network_shape import network_gflops
from frugalvit.models.weights.tensors import load_into


class Network(nn.Module):
    """What is made from its shape alone, and stands on no backbone.

    Args:
        shape: as `models.networks.network_shape` describes it.
    """

    body: Any  # a module: all before the heads, of networks that may begin with weights of others

    def __init__(self, shape: dict[str, Any]):
        super().__init__()
        self.shape = dict(shape)
        self.num_classes = shape["num_classes"]

    @property
    @abstractmethod
    def gflops(self) -> float:
        """GFLOPs per image."""

    @abstractmethod
    def embed(self, images: Tensor) -> Tensor:
        """What the heads read, pooled, `[batch, width]`, of `images` `[batch, 3, side, side]`."""

    def begin_with(self, weights: Path) -> None:
        """Load what `models.networks.network_weights` wrote into the body; heads stay as they are.

        Raises:
            WeightsError: the file is another network's, or broken.
        """
        load_into(self.body, weights)


class Classifier(Network):
    """Images to an embedding, and a linear classifier on it.

    Args:
        shape: as `models.networks.network_shape` describes it.
        width: of what `features` gives.
    """

    def __init__(self, shape: dict[str, Any], width: int):
        super().__init__(shape)
        embedding = shape["embedding"]
        # Linear alone: with what follows it is one matrix of lower rank, whose rank is its use.
        self.embedding = nn.Linear(width, embedding) if embedding else nn.Identity()
        self.classifier = nn.Linear(embedding or width, self.num_classes)

    @property
    def gflops(self) -> float:
        """GFLOPs per image."""
        return network_gflops(self.shape)

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """What the embedding reads, `[batch, width]`, of `images` `[batch, 3, side, side]`."""

    def embed(self, images: Tensor) -> Tensor:
        """What the classifier reads, `[batch, embedding]`."""
        return self.embedding(self.features(self.read(images)))

    def read(self, images: Tensor) -> Tensor:
        """Images of the network's channels; one channel is the mean of three, alike in grey."""
        return images.mean(dim=1, keepdim=True) if self.shape["channels"] == 1 else images

    def forward(self, images: Tensor) -> Tensor:
        """Logits `[batch, classes]`."""
        return self.classifier(self.embed(images))
