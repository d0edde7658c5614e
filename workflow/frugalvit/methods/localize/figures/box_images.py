"""Images with the true and the predicted box: the best, the worst, and some at random."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from frugalvit.figures import gallery, style, tables
from frugalvit.figures.about import About
from frugalvit.figures.style import GREY, INK, ORANGE, SKY, VERMILLION, Page

EDGES = ("x0", "y0", "x1", "y1")
COLUMNS = (
    "kind", "id", "split", "iou", *EDGES, "class_name", "predicted_name",
    *(f"true_{edge}" for edge in EDGES), "image",
)  # fmt: skip
NEEDS = {
    "pictures": COLUMNS,
    "predictions": ("id", "split", "label", "predicted", "iou"),
    "devices": tables.DEVICES,
}
HEADINGS = {"best": "best boxes", "worst": "worst boxes", "random": "drawn at random"}
PER_ROW, HEADING, GAP = 4, 6.0, 4.0  # images; mm


def plot(given: Mapping[str, pd.DataFrame], about: About) -> Figure:
    """See `figures.plotting`."""
    return draw(given["pictures"], given["predictions"], **about.of_experiment)


@style.themed
def draw(
    pictures: pd.DataFrame,
    predictions: pd.DataFrame,
    *,
    study: str,
    experiment: str,
    device: str,
    width_mm: float,
) -> Figure:
    """Three rows of images of the lowest seed's run, of the split that `shown_split` takes.

    `pictures` and `predictions` have the columns of `boxes.csv` and `predictions.csv`, and `run`,
    `seed`.

    Raises:
        DataError: a picture is not an image.
    """
    seed = predictions["seed"].min()
    split, shown = tables.shown_split(predictions[predictions["seed"] == seed])
    own = pictures[(pictures["seed"] == seed) & (pictures["split"] == split)] if len(pictures) else (
        pictures
    )  # fmt: skip
    title = f"Boxes of {experiment}"
    subtitle = tables.subtitle(
        study,
        tables.seeds_text([seed]),
        tables.images_text(shown["iou"].notna().sum(), split),
        device and f"device: {device}",
    )
    if own.empty:
        message = "No boxes to look at: no image of these splits has one."
        return style.message_page(title, subtitle, message, width_mm)
    groups = {kind: own[own["kind"] == kind] for kind in HEADINGS if (own["kind"] == kind).any()}
    inner = width_mm - 2 * style.MARGIN
    height = HEADING + gallery.gallery_height(inner, PER_ROW, PER_ROW, 2)
    page = Page(
        title,
        subtitle,
        width_mm,
        len(groups) * height + (len(groups) - 1) * GAP,
        notes="Solid, orange: the predicted box. Dashed, blue: the true one. Under each image: its"
        " class, what it was taken for where that was wrong (✗), and the IoU.",
    )
    cell = gallery.cell_width(inner, PER_ROW)
    for number, (kind, rows) in enumerate(groups.items()):
        top = number * (height + GAP)
        page.text(0, top + 1.8, HEADINGS[kind], size=style.LABEL, weight="bold", va="center")
        for place, row in enumerate(rows.head(PER_ROW).to_dict("records")):
            draw_picture(page, row, place * (cell + gallery.GAP), top + HEADING, cell)
    return page.figure


def draw_picture(page: Page, row: Mapping[str, Any], x: float, y: float, size: float) -> None:
    """One image with its boxes, its classes and its IoU beneath."""
    source = f"runs/{row['run']}/boxes.csv: image {row['id']}"
    pixels = gallery.decode_image(row["image"], source)
    axes = page.axes(x, y, size, size)
    small = max(pixels.shape[:2]) < 64
    axes.imshow(pixels, interpolation="nearest" if small else "lanczos", extent=(0, 1, 1, 0))
    axes.set_axis_off()
    for prefix, drawn in (
        ("true_", {"edgecolor": SKY, "linestyle": (0, (3, 2))}),
        ("", {"edgecolor": ORANGE, "linestyle": "-"}),
    ):
        x0, y0, x1, y1 = (float(row[prefix + edge]) for edge in EDGES)
        if np.isnan([x0, y0, x1, y1]).any():
            continue
        for width, color in ((2.6, INK), (1.4, drawn["edgecolor"])):
            line: dict[str, Any] = {
                "linestyle": drawn["linestyle"],
                "linewidth": width,
                "edgecolor": color,
            }
            axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, **line))
    below = y + size + 1
    right = row["class_name"] == row["predicted_name"]
    words = str(row["class_name"]) if right else f"{row['class_name']} ✗ {row['predicted_name']}"
    look: dict[str, Any] = {} if right else {"color": VERMILLION, "weight": "bold"}
    shown = style.shorten(words, style.NOTE, size, bold=not right)
    page.text(x, below, shown, size=style.NOTE, va="top", **look)
    page.text(
        x, below + style.line_height(style.NOTE), f"IoU {row['iou']:.2f}", size=style.NOTE,
        color=GREY, va="top",
    )  # fmt: skip
