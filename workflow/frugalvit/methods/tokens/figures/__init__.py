"""What the methods that reduce the number of tokens show together."""

from frugalvit.figures.figure import Figure

FIGURES = (
    Figure(
        "token_table",
        "frugalvit.methods.tokens.figures.token_table",
        ("summary", "all_points", "costs", "metrics"),
        "adaptive tokens and their rivals as a table",
        page="tokens.html",
    ),
)
