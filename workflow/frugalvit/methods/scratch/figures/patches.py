"""Images and the patches that a ViT reads them as."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from frugalvit.figures import gallery, style, tables
from frugalvit.figures.about import About
from frugalvit.figures.style import Page

NEEDS = {"samples": ("id", "label", "class_name", "image")}
SHOWN = 6  # images
COLUMNS = 6  # of the page: an image and its patches, three times
GAP = 0.16  # between patches, as a share of one
SMALLEST = 12  # px of a patch in the picture, so that gaps are of whole pixels


def plot(given: Mapping[str, pd.DataFrame], about: About) -> Figure:
    """See `figures.plotting`."""
    how = about.options["patches"]
    of = {"study": about.study, "experiment": about.experiment, "width_mm": about.width_mm}
    return draw(given["samples"], patches=how["side"], seen=how["seen"], **of)


@style.themed
def draw(
    samples: pd.DataFrame,
    *,
    study: str,
    experiment: str,
    width_mm: float,
    patches: int,
    seen: float,
) -> Figure:
    """Some training images, each beside its patches.

    Args:
        samples: rows of `samples.csv`.
        study: its name.
        experiment: whose network it is.
        width_mm: of the page.
        patches: along each side; 0 of a network that cuts none.
        seen: share of a stored image's side that the network sees.

    Raises:
        DataError: a sample is not an image.
    """
    title = f"Images and their patches: {experiment}"
    if not patches:
        return style.message_page(title, study, "This network cuts no patches.", width_mm)
    chosen = samples.sort_values(["label", "id"]).head(SHOWN)
    images: list[np.ndarray] = []
    captions: list[list[gallery.Line]] = []
    for row in chosen.itertuples():
        image = centre(gallery.decode_image(row.image, f"samples.csv: image {row.id}"), seen)
        images += [image, cut(image, patches)]
        name = row.class_name if isinstance(row.class_name, str) else ""
        captions += [[(name, {})], [("", {})]]
    page = Page(
        title,
        tables.subtitle(study, f"{patches} x {patches} patches an image", "training images"),
        width_mm,
        gallery.gallery_height(width_mm - 2 * style.MARGIN, len(images), COLUMNS, 1),
        notes="Each patch becomes a token; where it lay, the token's position tells alone.",
    )
    gallery.draw_gallery(page, images, captions, COLUMNS)
    return page.figure


def centre(image: np.ndarray, share: float) -> np.ndarray:
    """The middle of an image `[side, side, 3]`, `share` of its side."""
    side = max(1, round(len(image) * share))
    start = (len(image) - side) // 2
    return image[start : start + side, start : start + side]


def cut(image: np.ndarray, patches: int) -> np.ndarray:
    """An image `[side, side, 3]` in so many patches along each side, with white gaps between them."""
    each = max(SMALLEST, -(-len(image) // patches))
    places = ((np.arange(patches * each) + 0.5) / (patches * each) * len(image)).astype(int)
    large = image[places][:, places]
    gap = max(1, round(GAP * each))
    side = patches * each + (patches - 1) * gap
    target = np.arange(patches * each) + np.arange(patches * each) // each * gap
    found = np.full((side, side, 3), 255, dtype=np.uint8)
    found[np.ix_(target, target)] = large
    return found
