"""Figures of early exits."""

from frugalvit.figures.figure import Figure

HOME = "frugalvit.methods.early_exit.figures."
FIGURES = (
    Figure("exit_accuracy", HOME + "exit_accuracy", ("exits", "probes", "devices"), "accuracy"),
    Figure("exit_calibration", HOME + "exit_calibration", ("exits", "devices"), "calibration"),
    Figure(
        "exit_tradeoff",
        HOME + "exit_tradeoff",
        ("points", "exits", "summary", "devices"),
        "tradeoff",
    ),
    Figure(
        "exit_depth",
        HOME + "exit_depth",
        ("predictions", "exits", "points", "assignments", "devices"),
        "depth",
    ),
    Figure(
        "exit_images",
        HOME + "exit_images",
        ("exit_images", "predictions", "assignments", "devices"),
        "images",
    ),
)
