"""Architectures by name, and what an architecture is; no torch, for the configuration's sake.

An architecture is a JSON-able dict in torchvision's words: `image_size`, `patch_size`,
`num_layers`, `num_heads`, `hidden_dim`, `mlp_dim`, and optionally `eps` (of every LayerNorm, 1e-6
unless the weights were trained with another) and `num_classes`.
"""

from typing import Any

from frugalvit.errors import ConfigError

ARCHITECTURE_KEYS = (
    "image_size",
    "patch_size",
    "num_layers",
    "num_heads",
    "hidden_dim",
    "mlp_dim",
)

_SIZES = {  # Dosovitskiy et al. 2021, table 1; tiny and small: Touvron et al. 2021, table 1
    "tiny": {"num_layers": 12, "num_heads": 3, "hidden_dim": 192, "mlp_dim": 768},
    "small": {"num_layers": 12, "num_heads": 6, "hidden_dim": 384, "mlp_dim": 1536},
    "b": {"num_layers": 12, "num_heads": 12, "hidden_dim": 768, "mlp_dim": 3072},
    "l": {"num_layers": 24, "num_heads": 16, "hidden_dim": 1024, "mlp_dim": 4096},
    "h": {"num_layers": 32, "num_heads": 16, "hidden_dim": 1280, "mlp_dim": 5120},
}
_NAMED = {
    "vit_tiny": ("tiny", 16),
    "vit_small": ("small", 16),
    "vit_small_14": ("small", 14),
    "vit_b_16": ("b", 16),
    "vit_b_32": ("b", 32),
    "vit_l_16": ("l", 16),
    "vit_l_32": ("l", 32),
    "vit_h_14": ("h", 14),
}


def named_architecture(name: str, image_size: int = 224) -> dict[str, Any]:
    """The architecture called `name` (`vit_tiny`, `vit_small`, `vit_b_16` …), for `image_size` px.

    Raises:
        ConfigError: no architecture has that name.
    """
    if name not in _NAMED:
        raise ConfigError(f"no architecture is called '{name}': choose from {', '.join(_NAMED)}")
    size, patch_size = _NAMED[name]
    return {"image_size": image_size, "patch_size": patch_size, **_SIZES[size]}
