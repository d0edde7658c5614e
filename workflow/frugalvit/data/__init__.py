"""Datasets: where they come from, how they are stored, split and viewed."""
