"""A study whose processes are killed at random moments, held against one that never was.

`python -m tests.chaos --kills 5 --study cut`, or `--kills 30` for the embedded study as it is.
"""
