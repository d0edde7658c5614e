"""The model of a run: another run's plain network, thinned out only where it is evaluated."""

from frugalvit.models.plain import adapt, describe, restore

__all__ = ["adapt", "describe", "restore"]
