"""The model that is fine-tuned: the plain network."""

from frugalvit.models.plain import adapt, describe, restore

__all__ = ["adapt", "describe", "restore"]
