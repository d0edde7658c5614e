"""Keys of fine-tuning: the base, or its first blocks, with a head."""

from typing import Any

from frugalvit.errors import ConfigError
from frugalvit.methods.method import Entry, Look, Method


def training(raw: dict[str, Any]) -> dict[str, Any]:
    """How many blocks are kept, where not all are."""
    return {"keep_blocks": raw["keep_blocks"]} if "keep_blocks" in raw else {}


def check(entry: Entry) -> dict[str, Any]:
    """Check what it keeps of the base."""
    keep, layers = entry.raw.get("keep_blocks"), entry.base_layers
    key = f"{entry.at}.keep_blocks"
    if keep and entry.source:
        raise ConfigError(f"{key}: cuts the base, not another experiment; remove from")
    if keep and layers and keep > layers:
        raise ConfigError(f"{key}: {keep}, but the base has {layers} blocks; use fewer")
    return {}


METHOD = Method(
    title="Experiments",
    summary="",
    look=Look("plain, fine-tuned", "plain", "D", "#1A1A1A"),
    check=check,
    training=training,
)
