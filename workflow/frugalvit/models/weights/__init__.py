"""Weights files: read, named, converted, fetched."""
