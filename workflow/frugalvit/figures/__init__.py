"""Figures drawn from the workflow's CSVs alone: no torch, no GPU, no weights.

One kind of figure a file, each with a `draw…` function that takes tables and returns a matplotlib
`Figure`: `learning_curves`, `schedules`, `grid`, `confusion`, `mistakes`, `reliability`, `splits`,
and of early exits `exit_accuracy`, `exit_calibration`, `exit_tradeoff`, `exit_depth`, `exit_images`.
They share `style` (page, palette, text that fits, saving), `tables` (reading and its errors),
`gallery` (images in rows), and those of exits `exit_axis`, `exit_points` and `exit_table`. A new
figure is a new file here, a script that calls it and a rule beside `rules/report.smk`.
"""
