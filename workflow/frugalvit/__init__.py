"""Frugal ViT: how little Vision Transformer is enough for your images?"""

__version__ = "0.1.0"
