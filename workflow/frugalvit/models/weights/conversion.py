"""Any plain ViT's tensors, computed into torchvision's `VisionTransformer`.

Knows the naming of torchvision, of timm / DeiT / DINOv2, and of Hugging Face (`naming`).
LayerScale (Touvron et al. 2021, "Going deeper with image transformers", eq. 4) multiplies a
branch's output by a vector, so it folds into the branch's last linear layer. What torchvision's
class cannot compute is refused. Messages here lack the file's name, which the caller puts in front.
"""

import math
import re
from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from frugalvit.errors import WeightsError
from frugalvit.models.architectures import ARCHITECTURE_KEYS
from frugalvit.models.backbone import DEFAULT_EPS, build
from frugalvit.models.weights.description import Description
from frugalvit.models.weights.naming import detect, rename
from frugalvit.models.weights.opening import State
from frugalvit.models.weights.shapes import choose_heads

MOST_BLOCKS = 1000
UNDESCRIBED = Description()
_WITHOUT = {  # what the name of a missing tensor tells nobody
    "encoder.ln.weight": "final norm",
    "encoder.ln.bias": "bias in its final norm",
    "conv_proj.bias": "bias in its patch projection",
    "self_attention.out_proj.bias": "bias in its attention projections",
    "mlp.0.bias": "bias in its MLPs",
    "mlp.3.bias": "bias in its MLPs",
    "ln_1.bias": "bias in its norms",
}


def convert(
    state: State,
    *,
    image_size: int,
    num_heads: int | None = None,
    description: Description = UNDESCRIBED,
) -> tuple[State, dict[str, Any], dict[str, Any]]:
    """Turn a ViT's tensors, in any naming known here, into torchvision's, for `image_size` px.

    Args:
        state: the file's tensors by name.
        image_size: side of the square image in px that the model shall see; positions are
            resampled to it.
        num_heads: attention heads a block; no tensor tells it. Where None, what `description` and
            `shapes.choose_heads` say.
        description: what is known of the model beside its tensors.

    Returns:
        `(state, architecture, info)`: float32 tensors in torchvision's naming without a head, the
        architecture they fit, and what was done (`naming`, `layer_scale`, `distillation_token`,
        `positions_from`, `positions_to`: sides of the grid in patches; `taken`: what no tensor
        tells, and why it was taken).

    Raises:
        WeightsError: no plain ViT, missing or misshapen tensors, an image or heads that do not fit.
    """
    naming, named = detect(state)
    canonical = rename(named, naming)
    _make_float(canonical)
    architecture = _architecture(canonical, image_size)
    heads = choose_heads(
        _shape(architecture), num_heads, description.num_heads, description.said_by
    )
    architecture["num_heads"] = heads.number
    _compare(architecture, description)
    _fuse_query_key_value(canonical, architecture["num_layers"])
    layer_scale = _fold_layer_scale(canonical)
    distilled = canonical.pop("distillation_token", None) is not None
    grid_to = image_size // architecture["patch_size"]
    grid_from = _resample_positions(canonical, grid_to, distilled=distilled)
    # Hugging Face's DINOv2, unlike its ViT and DeiT, has torchvision's eps, and LayerScale.
    eps = description.eps or (DEFAULT_EPS if layer_scale else naming.eps)
    if eps != DEFAULT_EPS:
        architecture["eps"] = eps
    _check_against(canonical, architecture)
    info = {
        "naming": naming.title,
        "layer_scale": layer_scale,
        "distillation_token": distilled,
        "positions_from": grid_from,
        "positions_to": grid_to,
        "taken": {"num_heads": f"{heads.number}, {heads.why}", **_taken(naming.title, description)},
    }
    return {name: canonical[name].contiguous() for name in sorted(canonical)}, architecture, info


def _make_float(canonical: State) -> None:
    """Make every tensor float32; refuse what holds no finite numbers."""
    for name, tensor in canonical.items():
        if tensor.ndim == 0:
            raise WeightsError(f"{name} is a single number, where a ViT has a row of them")
        if tensor.is_floating_point():
            canonical[name] = tensor.float()
        if not tensor.is_floating_point() or not bool(canonical[name].isfinite().all()):
            raise WeightsError(f"{name} holds values that are no finite floating-point numbers")


def _shape(architecture: dict[str, Any]) -> tuple[int, int, int]:
    return architecture["hidden_dim"], architecture["num_layers"], architecture["mlp_dim"]


def _compare(architecture: dict[str, Any], description: Description) -> None:
    """Refuse a description of another model."""
    for key in ("hidden_dim", "num_layers"):
        told = getattr(description, key)
        if told is not None and told != architecture[key]:
            raise WeightsError(
                f"its {key} is {architecture[key]}, but {description.said_by} beside it says {told}: "
                "they are not of one model; put its own there, or none"
            )


def _taken(naming: str, description: Description) -> dict[str, str]:
    """What torchvision's class computes of that which no tensor tells, and who says it is right."""
    taken = {}
    for key, value in (
        ("activation", "GELU"),
        ("pooling", "class token"),
        ("positions", "learned alone, not rotary"),
    ):
        if naming == "torchvision":
            why = "as torchvision's class has it"
        elif getattr(description, key):
            why = f"as {description.said_by} says"
        else:
            why = "assumed: nothing tells"
        taken[key] = f"{value}, {why}"
    return taken


def _architecture(state: State, image_size: int) -> dict[str, Any]:
    """Read the architecture off the tensors' shapes, but for the heads, which they do not tell."""
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
    last = state.get("encoder.layers.encoder_layer_0.mlp.3.weight", first.T)
    if first.ndim == last.ndim == 2 and first.shape[0] == 2 * last.shape[1]:
        raise WeightsError(
            "has a SwiGLU MLP; take one with GELU (its first layer is twice as wide)"
        )
    blocks = {
        int(match[1]) for name in state if (match := re.search(r"encoder_layer_([0-9]+)", name))
    }
    gaps = set(range(len(blocks))) - blocks
    if len(blocks) > MOST_BLOCKS:
        raise WeightsError(f"has {len(blocks)} blocks: no ViT")
    if gaps:
        raise WeightsError(
            f"block {min(gaps) + 1} is missing: the file is incomplete; fetch it again"
        )
    sizes = (image_size, patch_size, len(blocks), 0, hidden_dim, len(first))
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
        raise WeightsError(_what_is_missing(missing, architecture["num_layers"]))
    extra = sorted(state.keys() - expected.keys())
    if extra:
        raise WeightsError(f"no plain ViT: cannot place {', '.join(extra[:3])}")
    for name, shape in expected.items():
        if state[name].shape != shape:
            raise WeightsError(
                f"{name} has the shape {tuple(state[name].shape)}, not {tuple(shape)}: "
                "no ViT of one width"
            )


def _what_is_missing(missing: list[str], num_layers: int) -> str:
    """Why tensors are missing: the file lacks some, or its model was built without them."""
    kinds = Counter(re.sub(r"^encoder\.layers\.encoder_layer_[0-9]+\.", "", n) for n in missing)
    if any(kind not in missing and count < num_layers for kind, count in kinds.items()):
        return (
            f"{len(missing)} tensors are missing ({', '.join(missing[:3])} …), which other blocks "
            "have: the file is incomplete; fetch it again"
        )
    named = [
        f"no {_WITHOUT.get(kind, kind)} ({kind}{'' if kind in missing else ' of every block'})"
        for kind in list(kinds)[:3]
    ]
    return (
        f"has {', '.join(named)}: its model was built without; such a model is not supported, "
        "take a plain ViT"
    )
