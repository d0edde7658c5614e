"""Keys of token merging: how many tokens merge."""

from typing import Any

from frugalvit.errors import ConfigError
from frugalvit.methods.method import Entry, Look
from frugalvit.methods.tokens.training_free import check_training_free, training_free


def check(entry: Entry) -> dict[str, Any]:
    """Returns how many tokens merge."""
    check_training_free(entry, "r", "[0.4]", ("r",))
    for place, r in enumerate(entry.raw["r"]):
        if r >= 1 and r != int(r):
            raise ConfigError(
                f"{entry.at}.r[{place}]: {r:g} is neither a share below 1 nor a whole number of tokens; "
                f"write {round(r)}"
            )
    return {"r": entry.raw["r"]}


METHOD = training_free("ToMe", Look("token merging", "merging", "P", "#9A6700"), check)
