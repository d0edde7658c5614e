"""The images that a network answers best, and those that it answers worst."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from frugalvit.figures import gallery, style, tables
from frugalvit.figures.about import About
from frugalvit.figures.style import Page
from frugalvit.words import SPLIT_NAMES

NEEDS = {
    "examples": ("kind", "id", "split", "class_name", "predicted_name", "loss", "image"),
    "devices": tables.DEVICES,
}


def plot(given: Mapping[str, pd.DataFrame], about: About) -> Figure:
    """See `figures.plotting`."""
    return draw(given["examples"], loss=about.options["loss"], **about.of_experiment)


@style.themed
def draw(
    examples: pd.DataFrame, *, study: str, experiment: str, device: str, width_mm: float, loss: str
) -> Figure:
    """A row of the smallest losses and one of the largest, of the run with the lowest seed.

    Args:
        examples: rows of runs' `examples.csv`, with `run` and `seed`.
        study: its name.
        experiment: whose.
        device: that trained it.
        width_mm: of the page.
        loss: what the losses are.

    Raises:
        DataError: an example is not an image.
    """
    title = f"Best and worst images of {experiment}"
    if examples.empty:
        return style.message_page(title, study, "No images were answered.", width_mm)
    own = tables.lowest_seed(examples)
    images = [
        gallery.decode_image(row.image, f"examples.csv: image {row.id}") for row in own.itertuples()
    ]
    captions: list[list[gallery.Line]] = [
        [
            (row.class_name, {"weight": "bold"}),
            (f"as {row.predicted_name}", {}),
            (f"loss {row.loss:.3g}", {}),
        ]
        for row in own.itertuples()
    ]
    columns = int((own["kind"] == "best").sum())
    page = Page(
        title,
        tables.subtitle(
            study,
            f"{SPLIT_NAMES[own['split'].iloc[0]]} images",
            f"seed {own['seed'].iloc[0]}",
            device and f"device: {device}",
        ),
        width_mm,
        gallery.gallery_height(width_mm - 2 * style.MARGIN, len(own), columns, 3),
        notes="First row: the best, second row: the worst. In bold what an image shows, beneath what it "
        f"was answered as, and its loss: {loss}.",
    )
    gallery.draw_gallery(page, images, captions, columns)
    return page.figure
