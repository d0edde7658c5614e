"""The first graph of an export reads stored pixels: the view and its normalisation lie inside."""

from typing import Any

import torch
from torch import Tensor, nn


class FromPixels(nn.Module):
    """A stage behind the view of evaluation, `data.views.to_tensor`.

    Args:
        stage: reads normalised images.
        preprocessing: of the model's card: `image_size`, `mean`, `std`.
        side: of the stored squares, px.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, stage: nn.Module, preprocessing: dict[str, Any], side: int):
        super().__init__()
        self.stage = stage
        self.size = preprocessing["image_size"]
        self.start = (side - self.size) // 2
        deviation = torch.tensor(preprocessing["std"], dtype=torch.float32)
        centre = torch.tensor(preprocessing["mean"], dtype=torch.float32) / deviation
        self.register_buffer("scale", (1 / (255 * deviation)).view(1, 3, 1, 1))
        self.register_buffer("centre", centre.view(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """What the stage says of uint8 `[batch, side, side, 3]`."""
        end = self.start + self.size
        view = pixels[:, self.start : end, self.start : end].permute(0, 3, 1, 2)
        return self.stage(view.float() * self.scale - self.centre)
