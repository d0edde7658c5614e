"""Figures of localization."""

from frugalvit.figures.figure import Figure

HOME = "frugalvit.methods.localize.figures."
FIGURES = (
    Figure("box_iou", HOME + "box_iou", ("predictions", "devices"), "overlap of boxes"),
    Figure(
        "box_curves", HOME + "box_curves", ("histories", "assignments", "devices"), "boxes by epoch"
    ),
    Figure("box_images", HOME + "box_images", ("pictures", "predictions", "devices"), "images"),
    Figure(
        "box_table",
        HOME + "box_table",
        ("metrics", "summary"),
        "classes and boxes as a table",
        page="boxes.html",
    ),
)
