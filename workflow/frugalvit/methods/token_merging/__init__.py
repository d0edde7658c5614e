"""Token merging (ToMe): merges similar tokens; nothing trains."""
