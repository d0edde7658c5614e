"""The plain network as a method's model: nothing around the backbone (`methods.method.ModelPart`)."""

from typing import Any

from torchvision.models import VisionTransformer


def adapt(backbone: VisionTransformer, settings: dict[str, Any]) -> VisionTransformer:
    """The backbone itself."""
    return backbone


def describe(model: VisionTransformer) -> dict[str, Any]:
    """Nothing besides its architecture."""
    return {}


def restore(backbone: VisionTransformer, card: dict[str, Any]) -> VisionTransformer:
    """The backbone itself."""
    return backbone
