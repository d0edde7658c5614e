"""Keys of token merging: how many tokens merge in every block."""

from typing import Any

from frugalvit.methods.method import Entry, Look
from frugalvit.methods.tokens.training_free import check_training_free, training_free


def check(entry: Entry) -> dict[str, Any]:
    """Returns the numbers of tokens to merge."""
    check_training_free(entry, "r", "[8]", ("r",))
    return {"r": entry.raw["r"]}


METHOD = training_free("ToMe", Look("token merging", "merging", "P", "#9A6700"), check)
