"""Figures of pruning tokens: those of all methods whose tokens leave."""

from frugalvit.methods.tokens.figures import FIGURES

__all__ = ["FIGURES"]
