"""Models: the one backbone, its weights, and what wraps it."""
