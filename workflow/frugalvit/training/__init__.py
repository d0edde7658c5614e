"""Training: what is frozen, cached features, the one loop, the search."""
