"""Figures of the toy method."""

from frugalvit.figures.figure import Figure

FIGURES = (Figure("scales", "frugalvit.methods.scaled.figures.scales", ("scales",)),)
