"""Any plain ViT's tensors, computed into torchvision's `VisionTransformer`.

Knows the naming of torchvision, of timm / DeiT / DINOv2, and of Hugging Face (`naming`).
LayerScale (Touvron et al. 2021, "Going deeper with image transformers", eq. 4) multiplies a
branch's output by a vector, so it folds into the branch's last linear layer. What torchvision's
class cannot compute is refused. Messages here lack the file's name, which the caller puts in front.
"""

import math
import re
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from frugalvit.errors import WeightsError
from frugalvit.models.architectures import ARCHITECTURE_KEYS
from frugalvit.models.backbone import DEFAULT_EPS, build
from frugalvit.models.weights.naming import detect, rename
from frugalvit.models.weights.tensors import State


def convert(
    state: State, *, image_size: int, num_heads: int | None = None
) -> tuple[State, dict[str, Any], dict[str, Any]]:
    """Turn a ViT's tensors, in any naming known here, into torchvision's, for `image_size` px.

    Args:
        state: the file's tensors by name.
        image_size: side of the square image in px that the model shall see; positions are
            resampled to it.
        num_heads: attention heads a block; no file tells it. `hidden_dim / 64` where None.

    Returns:
        `(state, architecture, info)`: float32 tensors in torchvision's naming without a head, the
        architecture they fit, and what was done (`naming`, `layer_scale`, `distillation_token`,
        `positions_from`, `positions_to`: sides of the grid in patches).

    Raises:
        WeightsError: no plain ViT, missing or misshapen tensors, an image or heads that do not fit.
    """
    naming, named = detect(state)
    canonical = rename(named, naming)
    for name, tensor in canonical.items():
        floating = tensor.is_floating_point()
        canonical[name] = tensor.float()
        if not floating or not bool(canonical[name].isfinite().all()):
            raise WeightsError(f"{name} holds values that are no finite floating-point numbers")
    architecture = _architecture(canonical, image_size, num_heads)
    _fuse_query_key_value(canonical, architecture["num_layers"])
    layer_scale = _fold_layer_scale(canonical)
    distilled = canonical.pop("distillation_token", None) is not None
    grid_to = image_size // architecture["patch_size"]
    grid_from = _resample_positions(canonical, grid_to, distilled=distilled)
    # Hugging Face's DINOv2, unlike its ViT and DeiT, has torchvision's eps, and LayerScale.
    eps = DEFAULT_EPS if layer_scale else naming.eps
    if eps != DEFAULT_EPS:
        architecture["eps"] = eps
    _check_against(canonical, architecture)
    info = {
        "naming": naming.title,
        "layer_scale": layer_scale,
        "distillation_token": distilled,
        "positions_from": grid_from,
        "positions_to": grid_to,
    }
    return {name: canonical[name].contiguous() for name in sorted(canonical)}, architecture, info


def _architecture(state: State, image_size: int, num_heads: int | None) -> dict[str, Any]:
    """Read the architecture off the tensors' shapes."""
    first_linear = "encoder.layers.encoder_layer_0.mlp.0.weight"
    for name in ("class_token", "encoder.pos_embedding", "conv_proj.weight", first_linear):
        if name not in state:
            raise WeightsError(f"{name} is missing: no ViT with a class token, or cut short")
    patches, first = state["conv_proj.weight"], state[first_linear]
    shape = patches.shape
    if patches.ndim != 4 or shape[1] != 3 or shape[2] != shape[3] or not patches.numel():
        raise WeightsError(f"its patch projection {tuple(shape)} does not read square RGB patches")
    hidden_dim, patch_size = patches.shape[0], patches.shape[2]
    if image_size % patch_size:
        fitting = max(1, round(image_size / patch_size)) * patch_size
        raise WeightsError(
            f"image_size {image_size} px is not a multiple of its patch size {patch_size}: "
            f"take {fitting}"
        )
    if num_heads is None and hidden_dim % 64:
        raise WeightsError(
            f"hidden_dim {hidden_dim} is not 64 per head: state base.architecture.num_heads"
        )
    num_heads = num_heads or hidden_dim // 64
    if hidden_dim % num_heads:
        raise WeightsError(
            f"base.architecture.num_heads: {num_heads} does not divide its hidden_dim {hidden_dim}"
        )
    last = state.get("encoder.layers.encoder_layer_0.mlp.3.weight", first.T)
    if first.ndim == last.ndim == 2 and first.shape[0] == 2 * last.shape[1]:
        raise WeightsError(
            "has a SwiGLU MLP; take one with GELU (its first layer is twice as wide)"
        )
    blocks = {int(match[1]) for name in state if (match := re.search(r"encoder_layer_(\d+)", name))}
    gaps = set(range(len(blocks))) - blocks
    if gaps:
        raise WeightsError(
            f"block {min(gaps) + 1} is missing: the file is incomplete; fetch it again"
        )
    sizes = (image_size, patch_size, len(blocks), num_heads, hidden_dim, len(first))
    return dict(zip(ARCHITECTURE_KEYS, sizes))


def _fuse_query_key_value(state: State, num_layers: int) -> None:
    """Stack separate query, key and value; supply the zero bias of models trained without one."""
    for k in range(num_layers):
        block = f"encoder.layers.encoder_layer_{k}."
        for kind in ("weight", "bias"):
            names = [f"{block}{role}.{kind}" for role in ("query", "key", "value")]
            shapes = {state[name].shape for name in names if name in state}
            if len(shapes) == 1 and all(name in state for name in names):
                fused = torch.cat([state.pop(name) for name in names])
                state[f"{block}self_attention.in_proj_{kind}"] = fused
    if any(re.search(r"(in_proj_|query\.|key\.|value\.)bias$", name) for name in state):
        return
    weights = [name for name in state if name.endswith("in_proj_weight")]
    for name in weights:
        state[name.replace("_weight", "_bias")] = torch.zeros(len(state[name]))


def _fold_layer_scale(state: State) -> bool:
    """Multiply LayerScale into the attention projection and the MLP's last layer, if there is any."""
    scales = [name for name in state if re.search(r"\.layer_scale_[12]$", name)]
    for scale in scales:
        block, _, number = scale.rpartition("layer_scale_")
        gamma = state.pop(scale).flatten()
        target = block + {"1": "self_attention.out_proj", "2": "mlp.3"}[number]
        for name in (f"{target}.weight", f"{target}.bias"):
            if name not in state:
                continue  # told as missing by _check_against
            if len(state[name]) != len(gamma):
                raise WeightsError(f"{name} has {len(state[name])} rows, its scale {len(gamma)}")
            state[name] = state[name] * gamma.reshape(-1, *[1] * (state[name].ndim - 1))
    return bool(scales)


def resample_positions(positions: Tensor, grid: int, prefix: int = 1) -> Tensor:
    """Resample position embeddings `[1, prefix + side², dim]` to `grid` x `grid` patches.

    Bicubic with antialiasing, as timm's `resample_abs_pos_embed`; the `prefix` tokens stay.
    """
    side = math.isqrt(positions.shape[1] - prefix)
    if side == grid:
        return positions
    kept, patches = positions[:, :prefix], positions[:, prefix:]
    patches = patches.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    patches = functional.interpolate(
        patches, size=(grid, grid), mode="bicubic", antialias=True, align_corners=False
    )
    return torch.cat([kept, patches.permute(0, 2, 3, 1).reshape(1, grid * grid, -1)], dim=1)


def _resample_positions(state: State, grid: int, *, distilled: bool) -> int:
    """Bring the positions to one class token and `grid` x `grid` patches; return the old side."""
    positions = state["encoder.pos_embedding"]
    if positions.ndim != 3 or positions.shape[0] != 1:
        raise WeightsError(f"its positions {tuple(positions.shape)} are no [1, tokens, dim]")
    count, dim = positions.shape[1:]
    prefix = 2 if distilled else 1
    if math.isqrt(count) ** 2 == count:  # timm's no_embed_class: prefix tokens have no position
        positions = torch.cat([torch.zeros(1, 1, dim), positions], dim=1)
    elif math.isqrt(count - prefix) ** 2 == count - prefix:
        positions = torch.cat([positions[:, :1], positions[:, prefix:]], dim=1)
    else:
        raise WeightsError(f"its {count} positions are not those of a square image")
    state["encoder.pos_embedding"] = resample_positions(positions, grid)
    return math.isqrt(positions.shape[1] - 1)


def _check_against(state: State, architecture: dict[str, Any]) -> None:
    """Compare names and shapes with the model that shall load them."""
    with torch.device("meta"):
        expected = {name: t.shape for name, t in build(architecture, 0).state_dict().items()}
    missing = sorted(expected.keys() - state.keys())
    if missing:
        raise WeightsError(
            f"{len(missing)} tensors are missing ({', '.join(missing[:3])} …): "
            "the file is incomplete; fetch it again"
        )
    extra = sorted(state.keys() - expected.keys())
    if extra:
        raise WeightsError(f"no plain ViT: cannot place {', '.join(extra[:3])}")
    for name, shape in expected.items():
        if state[name].shape != shape:
            raise WeightsError(
                f"{name} has the shape {tuple(state[name].shape)}, not {tuple(shape)}: "
                "no ViT of one width"
            )
