"""Figures and tables for people, drawn only from the workflow's CSVs: no torch, no GPU, no weights.

One figure a file, with `draw`, which takes tables and returns a matplotlib `Figure` (or the text of
an HTML page), and with `NEEDS` and `plot`, by which the one job of drawing knows it (`plotting`).
Those that belong to no method are listed in `all_figures`, a method's own in its room,
`methods/{name}/figures/`. A new figure is a file, a caption of its name in `captions/`, and a line
in that list.

`shown` says which figures a study has, for the rules; `inputs` where the tables lie that they name.
All share `style` (page, palette, text that fits, saving) and `tables` (reading and its errors);
some `gallery` (images in rows), `panel` (axes of blocks, labels that find room) and `point_words`;
what compares methods `comparison`, `series` and `looks`.
"""
