"""Figures of A-ViT."""
