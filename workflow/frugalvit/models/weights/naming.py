"""What torchvision, timm and Hugging Face call the tensors of a ViT, brought to torchvision's names.

Separate query, key and value and LayerScale, for which torchvision has no name, come out as
`query.*`, `key.*`, `value.*` and `layer_scale_1|2` inside their block, and the distillation token
as `distillation_token`: `conversion` computes them away.
"""

import re
from typing import NamedTuple

from frugalvit.errors import WeightsError
from frugalvit.models.weights.opening import State


class Naming(NamedTuple):
    """How one library calls a ViT's tensors."""

    title: str
    anchor: str  # the patch projection; what stands before it prefixes every other name
    renames: dict[str, str]  # whole names, without prefix, to torchvision's
    block: str  # pattern of a block's prefix, its index the last group
    block_renames: dict[str, str]  # patterns of names inside a block to torchvision's
    eps: float  # of the LayerNorms in the models published under this naming


_TORCHVISION_BLOCK = {
    r"ln_(1|2)\.(weight|bias)": r"ln_\1.\2",
    r"self_attention\.(in_proj_weight|in_proj_bias)": r"self_attention.\1",
    r"self_attention\.out_proj\.(weight|bias)": r"self_attention.out_proj.\1",
    r"mlp\.(0|linear_1)\.(weight|bias)": r"mlp.0.\2",  # linear_N: torchvision before 0.14
    r"mlp\.(3|linear_2)\.(weight|bias)": r"mlp.3.\2",
}
_TIMM_BLOCK = {
    r"norm(1|2)\.(weight|bias)": r"ln_\1.\2",
    r"attn\.qkv\.(weight|bias)": r"self_attention.in_proj_\1",
    r"attn\.proj\.(weight|bias)": r"self_attention.out_proj.\1",
    r"mlp\.fc1\.(weight|bias)": r"mlp.0.\1",
    r"mlp\.fc2\.(weight|bias)": r"mlp.3.\1",
    r"(?:ls(1|2)\.gamma)": r"layer_scale_\1",
    r"gamma_(1|2)": r"layer_scale_\1",
}
_HUGGING_FACE_BLOCK = {
    r"(?:layernorm_before|norm1)\.(weight|bias)": r"ln_1.\1",
    r"(?:layernorm_after|norm2)\.(weight|bias)": r"ln_2.\1",
    r"attention\.(?:attention\.query|q_proj)\.(weight|bias)": r"query.\1",
    r"attention\.(?:attention\.key|k_proj)\.(weight|bias)": r"key.\1",
    r"attention\.(?:attention\.value|v_proj)\.(weight|bias)": r"value.\1",
    r"attention\.(?:output\.dense|o_proj)\.(weight|bias)": r"self_attention.out_proj.\1",
    r"(?:intermediate\.dense|mlp\.fc1)\.(weight|bias)": r"mlp.0.\1",
    r"(?:output\.dense|mlp\.fc2)\.(weight|bias)": r"mlp.3.\1",
    r"layer_scale(1|2)\.lambda1": r"layer_scale_\1",
}
NAMINGS = (
    Naming(
        "torchvision",
        "conv_proj.weight",
        {
            "class_token": "class_token",
            "encoder.pos_embedding": "encoder.pos_embedding",
            "conv_proj.": "conv_proj.",
            "encoder.ln.": "encoder.ln.",
        },
        r"encoder\.layers\.encoder_layer_([0-9]+)\.",
        _TORCHVISION_BLOCK,
        1e-6,
    ),
    Naming(
        "timm",
        "patch_embed.proj.weight",
        {
            "cls_token": "class_token",
            "dist_token": "distillation_token",
            "pos_embed": "encoder.pos_embedding",
            "patch_embed.proj.": "conv_proj.",
            "norm.": "encoder.ln.",
        },
        r"blocks\.(?:[0-9]+\.)?([0-9]+)\.",  # DINOv2 saves its blocks in chunks: blocks.<chunk>.<k>
        _TIMM_BLOCK,
        1e-6,
    ),
    Naming(
        "Hugging Face",
        "embeddings.patch_embeddings.projection.weight",
        {
            "embeddings.cls_token": "class_token",
            "embeddings.distillation_token": "distillation_token",
            "embeddings.position_embeddings": "encoder.pos_embedding",
            "embeddings.patch_embeddings.projection.": "conv_proj.",
            "layernorm.": "encoder.ln.",
        },
        r"(?:encoder\.layer|layers)\.([0-9]+)\.",
        _HUGGING_FACE_BLOCK,
        1e-12,  # of ViT and DeiT; DINOv2 is told apart by its LayerScale
    ),
)

_HEADS = re.compile(
    r"heads?\.|head_dist\.|classifier\.|cls_classifier\.|distillation_classifier\.|pooler\."
    r"|pre_logits\.|decoder|(embeddings\.)?mask_token$"
)
_REFUSED = {  # pattern: what the file's model has that torchvision's class has not
    r"reg(ister)?_tokens?\b": "register tokens; take the variant without registers",
    r"mlp\.(w12|w3|weights_in|gate_proj|up_proj|fc1_[gx])\b": "a SwiGLU MLP; take one with GELU",
    r"(attn|attention)\.([qk]_norm|norm_[qk])\b": "a norm on queries and keys; take one without",
    r"norm_pre\.|pre_layrnorm|patch_embed\.norm\.": "a norm before its blocks; take one without",
    r"fc_norm\.": "a norm after average pooling; take one that reads its class token",
    r"rel_pos|relative_position|rope": "relative positions; take one with learned positions",
    r"attn_pool": "attention pooling; take one with a class token",
}


def is_of_a_head(name: str) -> bool:
    """Whether a tensor belongs to a head, or to what only pretraining uses."""
    return bool(_HEADS.match(name))


def detect(state: State) -> tuple[Naming, State]:
    """The naming, and the backbone's tensors without prefix (`module.`, `vit.`) and heads."""
    found = [
        (naming, name.removesuffix(naming.anchor))
        for naming in NAMINGS
        for name in state
        if name == naming.anchor or name.endswith("." + naming.anchor)
    ]
    if not found:
        some = ", ".join(sorted(state)[:3])
        raise WeightsError(
            f"no ViT in the naming of torchvision, timm or Hugging Face (it holds {some} …)"
        )
    if len(found) > 1:
        prefixes = ", ".join(f"'{prefix}'" for _, prefix in found)
        raise WeightsError(f"holds {len(found)} models (prefixes {prefixes}); save one of them")
    naming, prefix = found[0]
    named = {
        name.removeprefix(prefix): tensor
        for name, tensor in state.items()
        if name.startswith(prefix)
    }
    return naming, {name: tensor for name, tensor in named.items() if not is_of_a_head(name)}


def rename(named: State, naming: Naming) -> State:
    """Every tensor under torchvision's name; refuses what torchvision's class has no place for."""
    block = re.compile(naming.block)
    canonical, unknown = {}, []
    for name, tensor in named.items():
        for pattern, reason in _REFUSED.items():
            if re.search(pattern, name):
                raise WeightsError(f"has {reason} (tensor {name})")
        if match := block.match(name):
            inside = _rename_in_block(name[match.end() :], naming.block_renames)
            new = inside and f"encoder.layers.encoder_layer_{int(match[1])}.{inside}"
        else:
            new = next(
                (
                    target + name.removeprefix(source)
                    for source, target in naming.renames.items()
                    if name == source or (source.endswith(".") and name.startswith(source))
                ),
                None,
            )
        if new is None:
            unknown.append(name)
        elif new in canonical:
            raise WeightsError(f"two tensors are {new} ({name} is one): no plain ViT")
        else:
            canonical[new] = tensor
    if unknown:
        raise WeightsError(
            f"no plain ViT: {len(unknown)} tensors have no place in torchvision's "
            f"VisionTransformer ({', '.join(sorted(unknown)[:3])} …)"
        )
    return canonical


def _rename_in_block(name: str, renames: dict[str, str]) -> str | None:
    for pattern, target in renames.items():
        if match := re.fullmatch(pattern, name):
            return match.expand(target)
    return None
