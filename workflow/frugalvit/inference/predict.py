"""Logits of a trained run over whole splits."""

import torch
from torch import Tensor
from torchvision.models import VisionTransformer

from frugalvit.data.batches import ImageSet, batches
from frugalvit.devices import Fabric
from frugalvit.models.heads import HeadOnFeatures


@torch.inference_mode()
def predict(
    fabric: Fabric, model: VisionTransformer, images: ImageSet, batch_size: int, workers: int = 0
) -> Tensor:
    """Logits `[images, classes]` (float32, on the CPU), in the set's order."""
    module = fabric.setup_module(model)
    module.eval()
    loader = fabric.setup_dataloaders(batches(images, batch_size, workers=workers))
    return torch.cat([module(pixels).float().cpu() for pixels, _ in loader])


@torch.inference_mode()
def predict_from_class_tokens(
    fabric: Fabric, model: VisionTransformer, class_tokens: Tensor, batch_size: int
) -> Tensor:
    """As `predict`, from the last block's raw class tokens `[images, dim]`.

    For a run that never trained its backbone, whose features the base's cache holds.
    """
    module = fabric.setup_module(HeadOnFeatures(model))
    module.eval()
    chunks = class_tokens.split(batch_size)
    return torch.cat([module(chunk.to(fabric.device)).float().cpu() for chunk in chunks])
