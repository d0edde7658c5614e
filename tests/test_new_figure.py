"""docs/architecture.md, "Add a figure", followed literally: a file, a caption, one line."""

from pathlib import Path

import pandas as pd
import pytest

from frugalvit.files import write_csv
from tests import figure_tables as made
from tests.workflows import TINY, copy_tiny, planned, results_of, run

pytestmark = pytest.mark.workflow
MODULE = '''
"""A toy: how many answers are right."""

from frugalvit.figures import style, tables

NEEDS = {"predictions": ("label", "predicted"), "devices": tables.DEVICES}


def plot(given, about):
    answers = given["predictions"]
    right = int((answers["label"] == answers["predicted"]).sum())
    message = f"{right} of {len(answers)} right on {about.device}"
    return style.message_page(f"Toy of {about.experiment}", about.study, message, about.width_mm)
'''
CAPTION = "**Right answers of {{ snakemake.wildcards.experiment }}**, a toy.\n"
LINE = '            Figure("toy", HOME + "toy", ("predictions", "devices"), "a toy"),\n'
AFTER = 'Figure("reliability", '
TARGETS = ["results/tiny/figures/reliability-frozen.svg"]


def write_results(results: Path) -> None:
    """The CSVs of one experiment, as a clone without images or weights holds them."""
    table = made.assignments(["one", "two", "three"], (6, 3, 4))
    write_csv(results / "splits" / "assignments.csv", table)
    write_csv(results / "summary.csv", made.summary({"frozen": 0.8}, [0, 1]))
    for seed in range(2):
        folder, answers = results / f"runs/frozen-s{seed}", made.predictions(table, seed, 0.8)
        write_csv(folder / "predictions.csv", answers)
        write_csv(folder / "history.csv", made.history(seed, [("head", 2)]))
        write_csv(folder / "thumbnails.csv", made.thumbnails(answers))


def add_toy(folder: Path) -> None:
    """What somebody does who adds a figure."""
    figures = folder / "workflow" / "frugalvit" / "figures"
    (figures / "toy.py").write_text(MODULE.lstrip())
    (figures / "captions" / "toy.rst").write_text(CAPTION)
    lines = (figures / "all_figures.py").read_text().splitlines(keepends=True)
    place = next(number for number, line in enumerate(lines) if AFTER in line)
    (figures / "all_figures.py").write_text(
        "".join([*lines[: place + 1], LINE, *lines[place + 1 :]])
    )


def test_a_figure_is_a_file_a_caption_and_a_line(tmp_path):
    folder = copy_tiny(tmp_path)
    results = results_of(folder)
    write_results(results)
    run(folder, *TINY, *TARGETS)
    before = {path: path.read_bytes() for path in results.glob("figures/*.png")}
    assert planned(folder, *TINY, *TARGETS) == {}
    add_toy(folder)
    toy = "results/tiny/figures/toy-frozen.svg"
    assert planned(folder, *TINY, *TARGETS, toy) == {"plot_fine_tune": 1}
    run(folder, *TINY, toy)
    right = sum(
        (answers["label"] == answers["predicted"]).sum()
        for answers in map(pd.read_csv, results.glob("runs/frozen-*/predictions.csv"))
    )
    text = (folder / toy).read_text()
    assert "Toy of frozen" in text
    assert f"{right} of 42 right on cpu" in text
    assert {path: path.read_bytes() for path in before} == before
    report = folder / "report.html"
    run(folder, *TINY, "--report", str(report), toy)
    assert "Right answers of frozen" in report.read_text()
