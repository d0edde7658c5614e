"""Figures of training from scratch."""

from frugalvit.figures.figure import Figure

HOME = "frugalvit.methods.scratch.figures."
FIGURES = (
    Figure("examples", HOME + "examples", ("examples", "devices"), "best and worst images"),
    Figure("patches", HOME + "patches", ("samples",), "images and their patches"),
    Figure(
        "network_table",
        HOME + "network_table",
        ("summary", "metrics"),
        "networks as a table",
        page="networks.html",
    ),
)
