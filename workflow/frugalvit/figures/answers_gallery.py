"""Single images with what a model answered: what any method has to show."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from frugalvit.figures import gallery, style, tables
from frugalvit.figures.about import About
from frugalvit.figures.style import GREY, VERMILLION, Page

PER_ROW = 5


@style.themed
def draw(
    predictions: pd.DataFrame,
    pictures: Sequence[np.ndarray],
    names: Sequence[str],
    told: Sequence[str],
    about: About,
) -> Figure:
    """A gallery: true class, the wrong answer if it is one, what the method tells, the probability.

    Args:
        predictions: `split, label, predicted, probability`, and the columns of `told`.
        pictures: of these images, uint8 `[h, w, 3]`.
        names: of the classes, by label.
        told: columns that the method adds.
        about: what it is of.
    """
    inner = about.width_mm - 2 * style.MARGIN
    page = Page(
        f"Answers of {about.experiment}",
        tables.subtitle(about.study, predictions["split"].iloc[0], about.device),
        about.width_mm,
        gallery.gallery_height(inner, len(pictures), PER_ROW, 3),
        notes="Under each image: its true class, and what it was taken for where that was wrong (✗).",
    )
    captions: list[list[gallery.Line]] = []
    for row in predictions.to_dict("records"):
        wrong = row["label"] != row["predicted"]
        taken: gallery.Line = ("", {})
        if wrong:
            taken = (f"✗ {names[row['predicted']]}", {"color": VERMILLION, "weight": "bold"})
        parts = [f"{name} {row[name]:g}" for name in told]
        parts.append(f"{min(row['probability'], 0.999) * 100:.1f} %")
        captions.append([(names[row["label"]], {}), taken, (" · ".join(parts), {"color": GREY})])
    gallery.draw_gallery(page, pictures, captions, PER_ROW)
    return page.figure
