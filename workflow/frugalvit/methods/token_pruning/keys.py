"""Keys of token pruning: which share of tokens is kept, and where."""

from typing import Any

from frugalvit.errors import ConfigError
from frugalvit.methods.method import Entry, Look, Method
from frugalvit.methods.token_pruning.figures import FIGURES
from frugalvit.methods.tokens.training_free import check_training_free


def check(entry: Entry) -> dict[str, Any]:
    """Returns the shares to keep, and the blocks that prune."""
    check_training_free(entry, "keep_tokens", "[0.7]", ("keep_tokens", "prune_blocks"))
    blocks, layers = entry.raw["prune_blocks"], entry.layers
    beyond = [block for block in blocks or () if layers and block > layers]
    if beyond:
        raise ConfigError(
            f"{entry.at}.prune_blocks: {beyond[0]}, but the model has {layers} blocks; use 1 to "
            f"{layers}"
        )
    return {"keep_tokens": entry.raw["keep_tokens"], "prune_blocks": blocks}


METHOD = Method(
    title="Adaptive tokens",
    summary="EViT, without training, on another experiment's runs",
    look=Look("token pruning", "pruning", "p", "#A6517F"),
    check=check,
    trains=False,
    answers_from_features=False,
    adaptive=True,
    tables={"untimed": "untimed_points.csv"},
    figures=FIGURES,
)
