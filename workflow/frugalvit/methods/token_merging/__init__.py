"""Token merging (ToMe): similar tokens join, without training."""
