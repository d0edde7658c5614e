"""Figures of halting tokens."""

from frugalvit.figures.figure import Figure
from frugalvit.methods.tokens.figures import FIGURES as OF_TOKENS

HOME = "frugalvit.methods.avit.figures."
FIGURES = (
    Figure(
        "avit_images", HOME + "avit_images", ("depth_images", "own_metrics", "devices"), "images"
    ),
    Figure("avit_halting", HOME + "avit_halting", ("halting", "devices"), "halting"),
    Figure("avit_tokens", HOME + "avit_tokens", ("predictions", "devices"), "tokens"),
    Figure("avit_losses", HOME + "avit_losses", ("histories", "assignments", "devices"), "losses"),
    *OF_TOKENS,
)
