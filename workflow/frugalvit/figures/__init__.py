"""Figures drawn from the workflow's CSVs alone: no torch, no GPU, no weights.

One kind of figure a file, each with a `draw…` function that takes tables and returns a matplotlib
`Figure`: `learning_curves`, `schedules`, `grid`, `confusion`, `mistakes`, `reliability`, `splits`,
of early exits `exit_accuracy`, `exit_calibration`, `exit_tradeoff`, `exit_depth`, `exit_images`, of
halting tokens `avit_images`, `avit_halting`, `avit_tokens`, `avit_losses`, and of all methods `pareto`.
They share `style` (page, palette, text that fits, saving), `tables` (reading and its errors),
`gallery` (images in rows), those of exits `exit_axis`,
`exit_points` and `exit_table`, and what compares methods `token_columns`. A new
figure is a new file here, a script that calls it and a rule beside `rules/report.smk`.
"""
