"""Keys of token pruning: which share of tokens is kept, and where."""

from typing import Any

from frugalvit.errors import ConfigError
from frugalvit.methods.method import Entry, Look
from frugalvit.methods.tokens.training_free import check_training_free, training_free


def check(entry: Entry) -> dict[str, Any]:
    """Returns the shares to keep, the blocks that prune, and what they keep by."""
    check_training_free(entry, "keep_tokens", "[0.7]", ("keep_tokens", "prune_blocks", "select"))
    blocks, layers = entry.raw["prune_blocks"], entry.layers
    beyond = [block for block in blocks or () if layers and block > layers]
    if beyond:
        raise ConfigError(
            f"{entry.at}.prune_blocks: {beyond[0]}, but the model has {layers} blocks; use 1 to "
            f"{layers}"
        )
    return {key: entry.raw[key] for key in ("keep_tokens", "prune_blocks", "select")}


METHOD = training_free(
    "EViT", Look("token pruning", "pruning", "p", "#A6517F"), check, kept=("prune_blocks", "select")
)
