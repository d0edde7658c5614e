"""Keys of token merging: how many tokens merge in every block."""

from typing import Any

from frugalvit.methods.method import Entry, Look, Method
from frugalvit.methods.token_merging.figures import FIGURES
from frugalvit.methods.tokens.training_free import check_training_free


def check(entry: Entry) -> dict[str, Any]:
    """Returns the numbers of tokens to merge."""
    check_training_free(entry, "r", "[8]", ("r",))
    return {"r": entry.raw["r"]}


METHOD = Method(
    title="Adaptive tokens",
    summary="ToMe, without training, on another experiment's runs",
    look=Look("token merging", "merging", "P", "#9A6700"),
    check=check,
    trains=False,
    answers_from_features=False,
    adaptive=True,
    tables={"untimed": "untimed_points.csv"},
    figures=FIGURES,
)
