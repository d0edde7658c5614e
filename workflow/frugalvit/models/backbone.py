"""The one backbone of every method: torchvision's `VisionTransformer`, any size.

Its blocks compute attention as `models.attention` does; all else, and every name, is torchvision's.

What an architecture is stands in `models.architectures`. Blocks count from 1.
"""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from frugalvit.errors import ConfigError
from frugalvit.models.architectures import ARCHITECTURE_KEYS
from frugalvit.models.attention import attend_directly

DEFAULT_EPS = 1e-6
CLASS_TOKEN, PATCH_MEAN = 0, 1  # along the second-last dimension of pooled tokens

_BLOCK = re.compile(r"encoder\.layers\.encoder_layer_(\d+)\.")


def check_architecture(architecture: dict[str, Any]) -> None:
    """Refuse an architecture that no `VisionTransformer` can have.

    Raises:
        ConfigError: a key is missing or no positive integer, the image is not a whole number of
            patches, or the heads do not divide `hidden_dim`.
    """
    for key in ARCHITECTURE_KEYS:
        value = architecture.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(f"architecture.{key}: {value!r} is not a positive integer")
    image_size, patch_size = architecture["image_size"], architecture["patch_size"]
    if image_size % patch_size:
        fitting = max(1, round(image_size / patch_size)) * patch_size
        raise ConfigError(
            f"image_size: {image_size} px is not a multiple of the patch size {patch_size}: "
            f"take {fitting}"
        )
    hidden_dim, num_heads = architecture["hidden_dim"], architecture["num_heads"]
    if hidden_dim % num_heads:
        raise ConfigError(
            f"architecture.num_heads: {num_heads} does not divide hidden_dim {hidden_dim}"
        )


def build(
    architecture: dict[str, Any], num_classes: int, *, dropout: float = 0.0
) -> VisionTransformer:
    """Build a `VisionTransformer` with random weights drawn from torch's global generator.

    The head is torchvision's: zeros, so that every class starts equally likely. With
    `num_classes=0` there is no head, and the model returns the class token `[batch, dim]` after
    the final norm.

    Raises:
        ConfigError: see `check_architecture`.
    """
    check_architecture(architecture)
    model = VisionTransformer(
        **{key: architecture[key] for key in ARCHITECTURE_KEYS},
        dropout=dropout,
        num_classes=max(1, num_classes),  # torch warns of a Linear without outputs
        norm_layer=partial(nn.LayerNorm, eps=architecture.get("eps", DEFAULT_EPS)),
    )
    attend_directly(model)
    if num_classes == 0:
        model.heads = nn.Sequential()
        model.num_classes = 0
    return model


def backbone_of(model: nn.Module) -> VisionTransformer:
    """The backbone of a model that observes one (`model.backbone`), or the model itself."""
    return getattr(model, "backbone", model)


def block_count(model: nn.Module) -> int:
    """Encoder blocks of a model, or of the backbone in it; 0 of a network that has none."""
    encoder = getattr(backbone_of(model), "encoder", None)
    return len(encoder.layers) if encoder is not None else 0


def architecture_of(model: VisionTransformer) -> dict[str, Any]:
    """The architecture that `build` makes `model` from, with its `num_classes` and `eps`."""
    first = model.encoder.layers[0]
    return {
        "image_size": model.image_size,
        "patch_size": model.patch_size,
        "num_layers": len(model.encoder.layers),
        "num_heads": first.num_heads,
        "hidden_dim": model.hidden_dim,
        "mlp_dim": model.mlp_dim,
        "num_classes": model.num_classes,
        "eps": model.encoder.ln.eps,
    }


def embed(model: VisionTransformer, images: Tensor) -> Tensor:
    """What the first block reads: class token, then patches, `[batch, 1 + patches, dim]`."""
    patches = model._process_input(images)
    class_tokens = model.class_token.expand(images.shape[0], -1, -1)
    tokens = torch.cat([class_tokens, patches], dim=1) + model.encoder.pos_embedding
    return model.encoder.dropout(tokens)


def block_outputs(model: VisionTransformer, images: Tensor) -> Iterator[Tensor]:
    """Yield every block's output `[batch, 1 + patches, dim]` as it is computed, block 1 first.

    The outputs are raw: the final norm `encoder.ln` is not applied. Whoever stops iterating saves
    the later blocks.
    """
    tokens = embed(model, images)
    for block in model.encoder.layers:
        tokens = block(tokens)
        yield tokens


def pool(tokens: Tensor) -> Tensor:
    """Class token and mean patch token of `tokens` `[batch, 1 + patches, dim]`: `[batch, 2, dim]`."""
    return torch.stack([tokens[:, 0], tokens[:, 1:].mean(dim=1)], dim=1)


def forward_intermediates(model: VisionTransformer, images: Tensor) -> tuple[Tensor, Tensor]:
    """Class token and mean patch token after every block, before the final norm.

    Args:
        model: any torchvision `VisionTransformer`.
        images: normalised images `[batch, 3, image_size, image_size]`.

    Returns:
        `(class_tokens, patch_means)`, each `[batch, num_layers, dim]`; block k is at index k - 1.
    """
    class_tokens, patch_means = [], []
    for tokens in block_outputs(model, images):
        class_tokens.append(tokens[:, 0])
        patch_means.append(tokens[:, 1:].mean(dim=1))
    return torch.stack(class_tokens, dim=1), torch.stack(patch_means, dim=1)


def class_token(model: VisionTransformer, images: Tensor) -> Tensor:
    """The class token after the final norm, `[batch, dim]`: what the head reads."""
    tokens = model.encoder.layers(embed(model, images))
    return model.encoder.ln(tokens[:, 0])


def logits_from_class_token(model: VisionTransformer, class_tokens: Tensor) -> Tensor:
    """Logits `[batch, num_classes]` from the last block's raw class token `[batch, dim]`.

    Equals `model(images)` when given `forward_intermediates(model, images)[0][:, -1]`.
    """
    return model.heads(model.encoder.ln(class_tokens))


def parameter_part(name: str) -> str:
    """The part that a parameter belongs to, by its name in a model's `state_dict()`.

    Parts: `patch_embedding`, `positions` (with the class token), `block 1` …, `norm`, `head`; what a
    model around a backbone has of its own is called after the attribute that holds it.

    Raises:
        ValueError: neither a `VisionTransformer` nor a model around one has such a parameter.
    """
    plain = name.removeprefix("backbone.")
    if block := _BLOCK.match(plain):
        return f"block {int(block[1]) + 1}"
    for prefix, part in (
        ("conv_proj.", "patch_embedding"),
        ("class_token", "positions"),
        ("encoder.pos_embedding", "positions"),
        ("encoder.ln.", "norm"),
        ("heads.", "head"),
    ):
        if plain.startswith(prefix):
            return part
    attribute, dot, _ = plain.partition(".")
    if dot and plain == name and attribute != "encoder":
        return attribute
    raise ValueError(f"no parameter of a VisionTransformer is called {name}")


def own_parts(model: nn.Module) -> list[str]:
    """Parts that a model has besides its backbone's, in the order of its parameters."""
    parts = (parameter_part(name) for name, _ in model.named_parameters())
    known = set(part_names(block_count(model)))
    return list(dict.fromkeys(part for part in parts if part not in known))


def part_names(num_layers: int, own: Sequence[str] = ()) -> list[str]:
    """All parts in the order in which an image passes them; a model's own ones last."""
    blocks = [f"block {k}" for k in range(1, num_layers + 1)]
    return ["patch_embedding", "positions", *blocks, "norm", "head", *own]


def part_counts(model: VisionTransformer) -> dict[str, int]:
    """Number of parameters: patch_embedding, positions, blocks (together), norm, head, total."""
    counts = dict.fromkeys(("patch_embedding", "positions", "blocks", "norm", "head", "total"), 0)
    for name, parameter in model.named_parameters():
        part = parameter_part(name)
        counts["blocks" if part.startswith("block ") else part] += parameter.numel()
        counts["total"] += parameter.numel()
    return counts
