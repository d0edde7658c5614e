"""Single images with the predicted and the true box, each drawn as `box_images` does."""

import math

import pandas as pd
import torch
from matplotlib.figure import Figure

from frugalvit.data.batches import ImageSet
from frugalvit.data.thumbnails import encode
from frugalvit.figures import gallery, style, tables
from frugalvit.figures.about import About
from frugalvit.methods.localize.figures.box_images import PER_ROW, draw_picture
from frugalvit.methods.localize.measures import overlaps
from frugalvit.methods.localize.tables import EDGES, PICTURE
from frugalvit.methods.method import Answered


@style.themed
def figure(predictions: pd.DataFrame, answered: Answered, images: ImageSet, about: About) -> Figure:
    """See `methods.method.ShowingPart`."""
    assert answered.boxes is not None, "a localizer answers with boxes"
    true = images.boxes
    found = overlaps(answered.boxes, torch.from_numpy(true))
    pixels = images.pictures(range(len(images)))
    names = images.store.class_names
    inner = about.width_mm - 2 * style.MARGIN
    page = style.Page(
        f"Boxes of {about.experiment}",
        tables.subtitle(about.study, predictions["split"].iloc[0], about.device),
        about.width_mm,
        gallery.gallery_height(inner, len(images), PER_ROW, 2),
        notes="Solid, orange: the predicted box. Dashed, blue: the true one. Under each image: its"
        " class, what it was taken for where that was wrong (✗), and the IoU.",
    )
    cell = gallery.cell_width(inner, PER_ROW)
    height = gallery.gallery_height(inner, 1, PER_ROW, 2) + gallery.GAP
    boxes = answered.boxes.clamp(0, 1).tolist()
    for place, row in enumerate(predictions.to_dict("records")):
        own = {
            **{key: row[key] for key in ("run", "id")},
            "class_name": names[row["label"]],
            "predicted_name": names[row["predicted"]],
            "iou": found[place].item(),
            "image": encode(pixels[place], largest=PICTURE),
            **dict(zip(EDGES, boxes[place])),
            **{f"true_{edge}": value for edge, value in zip(EDGES, true[place])},
        }
        x, y = place % PER_ROW * (cell + gallery.GAP), math.floor(place / PER_ROW) * height
        draw_picture(page, own, x, y, cell)
    return page.figure
