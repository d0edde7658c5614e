"""A run as files that other programs run: written, compared with the run, timed."""
