"""A sample of the images, to check that images and labels belong together."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from frugalvit.figures import gallery, style, tables
from frugalvit.figures.about import About
from frugalvit.figures.style import Page

COLUMNS = ("id", "split", "label", "class_name", "image")
NEEDS = {"samples": COLUMNS, "assignments": tables.ASSIGNMENTS}


def plot(given: Mapping[str, pd.DataFrame], about: About) -> Figure:
    """See `figures.plotting`."""
    return draw(given["samples"], given["assignments"], **about.of_study)


@style.themed
def draw(
    samples: pd.DataFrame, assignments: pd.DataFrame, *, study: str, width_mm: float
) -> Figure:
    """A grid of training images, one a class, with class names.

    Raises:
        DataError: a sample is not an image.
    """
    samples = samples.sort_values(["label", "id"])
    images = [
        gallery.decode_image(row.image, f"samples.csv: image {row.id}")
        for row in samples.itertuples()
    ]
    classes = assignments["label"].nunique()
    names = samples["class_name"].fillna("")
    columns = 8 if len(samples) > 10 else 5
    widest = gallery.cell_width(width_mm - 2 * style.MARGIN, columns)
    wrapped = [style.wrap(name, style.NOTE, widest, lines=2) for name in names]
    lines = max(map(len, wrapped), default=1)
    captions: list[list[gallery.Line]] = [[(text, {}) for text in texts] for texts in wrapped]
    shown = f"one image of each of {len(samples)} classes"
    if samples["label"].nunique() < len(samples):
        shown = f"{len(samples)} images of {samples['label'].nunique()} classes"
    page = Page(
        "Sample images",
        tables.subtitle(study, f"{shown}, from the training images", f"{classes} classes in all"),
        width_mm,
        gallery.gallery_height(width_mm - 2 * style.MARGIN, len(samples), columns, lines),
        notes="As stored: resized, centre crop. The models see them cropped to their input size.",
    )
    gallery.draw_gallery(page, images, captions, columns)
    return page.figure
