"""Convolutional networks to compare with: torchvision's ResNet-18, and a plain stack."""

from typing import Any

from torch import Tensor, nn
from torchvision.models import resnet18

from frugalvit.models.networks.network import Network
from frugalvit.models.networks.network_shape import KERNEL, RESNET_WIDTHS, side_left


class ResNet18(Network):
    """torchvision's ResNet-18 (He et al. 2016).

    With `small_stem` its first convolution is 3 x 3 without stride, and nothing is pooled before the
    first block, as He et al. have it for CIFAR-10 (section 4.2).
    """

    def __init__(self, shape: dict[str, Any]):
        super().__init__(shape, RESNET_WIDTHS[-1])
        self.body = resnet18(weights=None)
        self.body.fc = nn.Identity()
        if shape["small_stem"]:
            self.body.conv1 = nn.Conv2d(3, RESNET_WIDTHS[0], 3, padding=1, bias=False)
            nn.init.kaiming_normal_(self.body.conv1.weight, mode="fan_out", nonlinearity="relu")
            self.body.maxpool = nn.Identity()

    def features(self, images: Tensor) -> Tensor:
        """Means over places, `[batch, 512]`."""
        return self.body(images)


class ConvEncoder(Network):
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
