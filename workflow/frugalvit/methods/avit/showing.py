"""Single images with the depth of their patches, as `avit_images` draws them for the report."""

import pandas as pd
from matplotlib.figure import Figure

from frugalvit.data.batches import ImageSet
from frugalvit.figures.about import About
from frugalvit.methods.avit.figures.avit_images import METRICS_COLUMNS, draw
from frugalvit.methods.avit.tables import depth_images
from frugalvit.methods.method import Answered


def figure(predictions: pd.DataFrame, answered: Answered, images: ImageSet, about: About) -> Figure:
    """See `methods.method.ShowingPart`."""
    assert answered.depths is not None, "tokens of this model halt"
    places = range(len(predictions))
    table = depth_images(predictions, answered.depths, about.options["blocks"], places, images)
    table = table.assign(run=predictions["run"], seed=predictions["seed"])
    return draw(table, pd.DataFrame(columns=list(METRICS_COLUMNS)), **about.of_experiment)
