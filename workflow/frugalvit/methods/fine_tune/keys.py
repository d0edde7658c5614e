"""Keys of fine-tuning: the base, or its first blocks, with a head."""

from typing import Any

from frugalvit.methods.method import Entry, Look, Method, kept_blocks


def check(entry: Entry) -> dict[str, Any]:
    """Check what it keeps of the base."""
    entry.check_kept()
    return {}


METHOD = Method(
    title="Experiments",
    summary="",
    look=Look("plain, fine-tuned", "plain", "D", "#1A1A1A"),
    check=check,
    training=kept_blocks,
)
