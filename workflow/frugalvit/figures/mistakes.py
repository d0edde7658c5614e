"""The mistakes that the models were surest of, as images."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from frugalvit.figures import gallery, style, tables
from frugalvit.figures.about import About
from frugalvit.figures.style import GREY, VERMILLION, Page

COLUMNS = ("id", "split", "label", "predicted", "probability", "image")
PREDICTION_COLUMNS = ("id", "split", "label", "predicted")
NEEDS = {
    "thumbnails": COLUMNS,
    "predictions": PREDICTION_COLUMNS,
    "assignments": tables.ASSIGNMENTS,
    "devices": tables.DEVICES,
}
SHOWN, PER_ROW = 15, 5


def surest(thumbnails: pd.DataFrame, count: int = SHOWN) -> pd.DataFrame:
    """One row an image, with its surest mistake over all seeds; surest first."""
    wrong = thumbnails[thumbnails["label"] != thumbnails["predicted"]]
    ranked = wrong.sort_values(["probability", "id"], ascending=[False, True], kind="stable")
    return ranked.drop_duplicates("id").head(count)


def plot(given: Mapping[str, pd.DataFrame], about: About) -> Figure:
    """See `figures.plotting`."""
    names = tables.class_names(given["assignments"])
    return draw(given["thumbnails"], given["predictions"], names, **about.of_experiment)


@style.themed
def draw(
    thumbnails: pd.DataFrame,
    predictions: pd.DataFrame,
    names: list[str],
    *,
    study: str,
    experiment: str,
    device: str,
    width_mm: float,
) -> Figure:
    """The most confident mistakes on the test images, pooled over an experiment's seeds.

    `thumbnails` and `predictions` have the columns of their CSVs and `run`, `seed`; `names` are
    the class names by label.

    Raises:
        DataError: a thumbnail is not an image, or a class has no name.
    """
    title = f"Most confident mistakes of {experiment}"
    split, shown = tables.shown_split(predictions)
    seeds = shown["seed"] if len(shown) else predictions["seed"]
    size = tables.images_text(shown["id"].nunique(), split)
    wrong = shown[shown["label"] != shown["predicted"]]
    parts = (study, tables.seeds_text(seeds), size, device and f"device: {device}")
    chosen = surest(thumbnails)
    if chosen.empty:
        if shown.empty:
            message = "No predictions to look at: this study has no test images."
        elif wrong.empty:
            message = f"Nothing to show: none of the {size} was misclassified by any seed."
        else:
            message = f"No thumbnails were saved, although {len(wrong)} predictions were wrong."
        return style.message_page(title, tables.subtitle(*parts), message, width_mm)
    tables.check_labels(shown, names)
    runs, wrong_runs = shown["run"].nunique(), wrong.groupby("id")["run"].nunique()
    images = [
        gallery.decode_image(row.image, f"runs/{row.run}/thumbnails.csv: image {row.id}")
        for row in chosen.itertuples()
    ]
    width = gallery.cell_width(width_mm - 2 * style.MARGIN, PER_ROW)
    captions = [
        caption(row, names, width, wrong_runs.get(row.id, 0), runs) for row in chosen.itertuples()
    ]
    share = f"{wrong['id'].nunique():,} of them misclassified by at least one seed"
    share = share if runs > 1 else f"{wrong['id'].nunique():,} of them misclassified"
    page = Page(
        title,
        tables.subtitle(*parts[:3], share, parts[3]),
        width_mm,
        gallery.gallery_height(width_mm - 2 * style.MARGIN, len(chosen), PER_ROW, len(captions[0])),
        notes="Each image once, with its surest wrong prediction over all seeds, surest first."
        " First line: predicted class (the probability that the model gave it).",
    )
    gallery.draw_gallery(page, images, captions, PER_ROW)
    return page.figure


def caption(
    row: Any, names: list[str], width: float, wrong_runs: int, runs: int
) -> list[gallery.Line]:
    """Prediction, truth and, with several seeds, how many were wrong; `width` is in mm."""
    # Never 100 %: a rounded probability is no certainty.
    digits = 1 if row.probability > 0.99 else 0
    probability = f" ({min(row.probability, 0.999) * 100:.{digits}f} %)"
    room = width - style.text_width(probability, style.NOTE, bold=True)
    named = style.shorten(names[row.predicted], style.NOTE, room, bold=True)
    lines: list[gallery.Line] = [
        (named + probability, {"color": VERMILLION, "weight": "bold"}),
        (f"true: {names[row.label]}", {}),
    ]
    if runs > 1:
        lines.append((f"{wrong_runs} of {runs} seeds wrong", {"color": GREY}))
    return lines
