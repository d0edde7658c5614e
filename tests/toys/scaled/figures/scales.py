"""The scale that each seed learned."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from frugalvit.figures import style
from frugalvit.figures.about import About
from frugalvit.figures.style import BLUE, Page

NEEDS = {"scales": ("scale",)}


@style.themed
def plot(given: Mapping[str, pd.DataFrame], about: About) -> Figure:
    """See `figures.plotting`."""
    page = Page("Scale of the logits", about.study, about.width_mm, 40)
    axes = page.axes(20, 2, page.width - 25, 30)
    axes.plot(given["scales"]["seed"], given["scales"]["scale"], "o", color=BLUE)
    axes.set(xlabel="seed", ylabel="scale")
    return page.figure
