"""A network as training and evaluation see it: images in, logits out, an embedding between."""

from abc import abstractmethod
from typing import Any

from torch import Tensor, nn

from frugalvit.models.networks.network_shape import network_gflops


class Network(nn.Module):
    """Images to an embedding, and a linear classifier on it.

    Args:
        shape: as `models.networks.network_shape` describes it.
        width: of what `features` gives.
    """

    def __init__(self, shape: dict[str, Any], width: int):
        super().__init__()
        self.shape = dict(shape)
        self.num_classes = shape["num_classes"]
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
