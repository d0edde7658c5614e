"""The images that left first and those that left last."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from frugalvit.figures import gallery, style, tables
from frugalvit.figures.about import About
from frugalvit.figures.style import GREY, VERMILLION, Page

COLUMNS = ("group", "id", "label", "predicted", "exit", "probability", "image")
PREDICTION_COLUMNS = ("id", "split", "label", "predicted", "exit")
NEEDS = {
    "exit_images": COLUMNS,
    "predictions": PREDICTION_COLUMNS,
    "assignments": tables.ASSIGNMENTS,
    "devices": tables.DEVICES,
}
PER_ROW, MOST = 6, 12  # images a row, and in each group
HEADING, GAP = 6.0, 6.0  # mm: a group's words, and the room before the next
GROUPS = ("first", "last")


@dataclass(frozen=True)
class Part:
    """The part of a page from `top` mm downwards, for `gallery.draw_gallery`."""

    page: Page
    top: float

    @property
    def width(self) -> float:
        """Width in mm, the page's."""
        return self.page.width

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        """As `Page.axes`, from the part's top."""
        return self.page.axes(x, self.top + y, width, height)

    def text(self, x: float, y: float, text: str, **kwargs: Any) -> None:
        """As `Page.text`, from the part's top."""
        self.page.text(x, self.top + y, text, **kwargs)


def group_of(images: pd.DataFrame, group: str) -> pd.DataFrame:
    """A group's images: `first` from the earliest exit on, `last` from the latest back."""
    own = images[images["group"] == group]
    return own.sort_values("exit", ascending=group == "first", kind="stable").head(MOST)


def plot(given: Mapping[str, pd.DataFrame], about: About) -> Figure:
    """See `figures.plotting`."""
    names = tables.class_names(given["assignments"])
    return draw(given["exit_images"], given["predictions"], names, **about.of_experiment)


@style.themed
def draw(
    images: pd.DataFrame,
    predictions: pd.DataFrame,
    names: list[str],
    *,
    study: str,
    experiment: str,
    device: str,
    width_mm: float,
) -> Figure:
    """Two galleries: images that left at the earliest exits, images that stayed longest.

    `images` and `predictions` have the columns of `exit_images.csv` and `predictions.csv` and
    `run`, `seed`; only the lowest seed's are shown. `names` are the class names by label.

    Raises:
        DataError: a picture is not an image, or a class has no name.
    """
    title = f"First and last images to leave {experiment}"
    images = tables.lowest_seed(images)
    seed = images["seed"].min() if len(images) else predictions["seed"].min()
    split, shown = tables.shown_split(predictions[predictions["seed"] == seed])
    subtitle = tables.subtitle(
        study,
        tables.seeds_text([seed]),
        tables.images_text(shown["id"].nunique(), split),
        device and f"device: {device}",
    )
    groups = {group: group_of(images, group) for group in GROUPS}
    groups = {group: rows for group, rows in groups.items() if len(rows)}
    if shown.empty or not groups:
        reason = "this study has no test images" if shown.empty else "no pictures were saved"
        message = f"No images to look at: {reason}."
        return style.message_page(title, subtitle, message, width_mm)
    tables.check_labels(shown, names)
    tables.check_labels(images, names)
    inner = width_mm - 2 * style.MARGIN
    heights = [
        HEADING + gallery.gallery_height(inner, len(rows), PER_ROW, 3) for rows in groups.values()
    ]
    notes = (
        "Under each image: its true class; what the model took it for, where it was wrong (✗); the"
        " block after which it left and the probability that it gave its answer."
    )
    body = sum(heights) + GAP * (len(heights) - 1)
    page = Page(title, subtitle, width_mm, body, notes=notes)
    top = 0.0
    width = gallery.cell_width(inner, PER_ROW)
    for (group, rows), height in zip(groups.items(), heights):
        page.text(0, top + 1.8, heading(group, rows, shown), size=style.LABEL, va="center")
        pictures = [
            gallery.decode_image(row.image, f"runs/{row.run}/exit_images.csv: image {row.id}")
            for row in rows.itertuples()
        ]
        captions = [caption(row, names, width) for row in rows.itertuples()]
        gallery.draw_gallery(Part(page, top + HEADING), pictures, captions, PER_ROW)
        top += height + GAP
    return page.figure


def heading(group: str, rows: pd.DataFrame, predictions: pd.DataFrame) -> str:
    """'Left first: after block 1 to 2, as 20 of 360 test images did'."""
    low, high = int(rows["exit"].min()), int(rows["exit"].max())
    blocks = f"block {low}" if low == high else f"blocks {low} to {high}"
    count = int(predictions["exit"].between(low, high).sum())
    wrong = int((rows["label"] != rows["predicted"]).sum())
    shown = f"{len(rows)} shown, {wrong or 'none'} of them wrong"
    return f"Left {group}: after {blocks}, as {count:,} of {len(predictions):,} did ({shown})"


def caption(row: Any, names: list[str], width: float) -> list[gallery.Line]:
    """True class, the wrong answer if it is one, block and probability; `width` is in mm."""
    # Never 100 %: a rounded probability is no certainty.
    digits = 1 if row.probability > 0.99 else 0
    sure = f"{min(row.probability, 0.999) * 100:.{digits}f} %"
    true = names[row.label]
    second: gallery.Line
    if row.label == row.predicted:
        second = ("", {})
    else:
        mark = "✗ "
        room = width - style.text_width(mark, style.NOTE, bold=True)
        taken = style.shorten(names[row.predicted], style.NOTE, room, bold=True)
        second = (mark + taken, {"color": VERMILLION, "weight": "bold"})
    return [(true, {}), second, (f"block {row.exit} · {sure}", {"color": GREY})]
