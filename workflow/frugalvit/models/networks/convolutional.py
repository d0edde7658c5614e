"""Convolutional networks to compare with: torchvision's ResNet-18, and a plain stack."""

from typing import Any

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet

from frugalvit.models.networks.network import Classifier
from frugalvit.models.networks.network_shape import (
    KERNEL,
    RESNET_BLOCKS,
    RESNET_WIDTHS,
    side_left,
)


class ResNet18Body(ResNet):
    """torchvision's ResNet-18 (He et al. 2016) without its classifier.

    With `small_stem` its first convolution is 3 x 3 without stride, and nothing is pooled before the
    first block, as He et al. have it for CIFAR-10 (section 4.2).
    """

    def __init__(self, small_stem: bool = False):
        super().__init__(BasicBlock, [RESNET_BLOCKS] * len(RESNET_WIDTHS))
        self.fc = nn.Identity()
        if small_stem:
            self.conv1 = nn.Conv2d(3, RESNET_WIDTHS[0], 3, padding=1, bias=False)
            nn.init.kaiming_normal_(self.conv1.weight, mode="fan_out", nonlinearity="relu")
            self.maxpool = nn.Identity()

    def places(self, images: Tensor) -> Tensor:
        """What `forward` averages: `[batch, 512, rows, columns]`."""
        seen = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        return self.layer4(self.layer3(self.layer2(self.layer1(seen))))


class ResNet18(Classifier):
    """`ResNet18Body`, an embedding and a classifier."""

    def __init__(self, shape: dict[str, Any]):
        super().__init__(shape, RESNET_WIDTHS[-1])
        self.body = ResNet18Body(shape["small_stem"])

    def features(self, images: Tensor) -> Tensor:
        """Means over places, `[batch, 512]`."""
        return self.body(images)


class ConvEncoder(Classifier):
    """Convolutions without padding, each with ReLU, then all that is left, flat."""

    def __init__(self, shape: dict[str, Any]):
        widths, side = shape["widths"], side_left(shape)
        super().__init__(shape, widths[-1] * side**2)
        inputs = [shape["channels"], *widths[:-1]]
        self.body = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(before, width, KERNEL), nn.ReLU())
                for before, width in zip(inputs, widths)
            ),
            nn.Flatten(),
        )

    def features(self, images: Tensor) -> Tensor:
        """All numbers of the last convolution, `[batch, width * side²]`."""
        return self.body(images)
