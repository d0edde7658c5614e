"""Figures drawn from the workflow's CSVs alone: no torch, no GPU, no weights.

One kind of figure a file, each with a `draw…` function that takes tables and returns a matplotlib
`Figure`: `learning_curves`, `schedules`, `grid`, `confusion`, `mistakes`, `reliability`, `splits`.
They share `style` (page, palette, text that fits, saving), `tables` (reading and its errors) and
`gallery` (images in rows). A new method's figure, say accuracy against cost of operating points,
is a new file here, a script that calls it and a rule in `rules/report.smk`.
"""
