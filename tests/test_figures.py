"""Every figure is drawn from made-up tables: whole, legible, the same each time, without torch."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from PIL import Image

from frugalvit.errors import ConfigError, DataError
from frugalvit.figures import (
    all_figures,
    class_counts,
    confusion,
    grid,
    learning_curves,
    mistakes,
    reliability,
    samples,
    schedules,
    style,
    tables,
)
from frugalvit.figures.shown import caption
from frugalvit.files import write_csv
from frugalvit.methods import registry
from tests import figure_tables as made

WORKFLOW = Path(__file__).resolve().parents[1] / "workflow"
LIBRARY = WORKFLOW / "frugalvit"
DIGITS = [str(digit) for digit in range(10)]
LONG = [f"a rather long name of a class, $number$ {label}" for label in range(102)]
NAMES = {"study": "made_up", "experiment": "unfreeze_last", "device": "cpu"}
SCHEDULE = [("head", 4), ("blocks: 6", 3), ("all", 8)]


def of_runs(found: list[pd.DataFrame]) -> pd.DataFrame:
    runs = [table.assign(run=f"x-s{seed}", seed=seed) for seed, table in enumerate(found)]
    return pd.concat(runs, ignore_index=True)


def every_figure(classes: list[str], seeds: int, accuracy: float, width: float) -> dict:
    """All kinds of figures of one made-up study."""
    names = {**NAMES, "width_mm": width}
    table = made.assignments(classes, (6, 3, 4))
    results = of_runs([made.predictions(table, seed, accuracy) for seed in range(seeds)])
    histories = of_runs(
        [made.history(seed, SCHEDULE, stop=2 if seed == 1 else None) for seed in range(seeds)]
    )
    shown = table[table["split"] == "train"].drop_duplicates("label").head(24)
    generator = np.random.default_rng(1)
    shown = shown.assign(image=[made.png(generator) for _ in range(len(shown))])
    experiments = {f"experiment_with_a_long_name_{n}": 0.5 + n / 40 for n in range(12)}
    summary = made.summary(experiments, list(range(seeds)))
    points = made.grid(
        {"lr": [0.001, 0.01], "schedule[1].lr": [1e-4, 1e-5], "views": [0, 8]}, seeds
    )
    return {
        "learning_curves": learning_curves.draw(histories, table, **names),
        "confusion": confusion.draw(results, classes, **names),
        "mistakes": mistakes.draw(made.thumbnails(results), results, classes, **names),
        "reliability": reliability.draw(results, **names),
        "samples": samples.draw(shown, table, study="made_up", width_mm=width),
        "class_counts": class_counts.draw(table, study="made_up", width_mm=width),
        "schedules": schedules.draw(summary, study="made_up", shown=None, width_mm=width),
        "grid": grid.draw(points, images=30, **names),
    }


@style.themed
def drawn_texts(figure) -> dict[Text, tuple[float, float, float, float]]:
    """Every text that drawing puts on the canvas, and its box in pixels."""
    shown, draw = [], Text.draw

    def record(text, renderer):
        if text.get_visible() and text.get_text().strip():
            shown.append(text)
        return draw(text, renderer)

    figure.dpi = 200
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", record)
        figure.canvas.draw()
    return {text: text.get_window_extent().extents for text in shown}


def words(figure) -> str:
    return " ".join(text.get_text() for text in drawn_texts(figure))


STUDIES = {
    "digits, three seeds": (DIGITS, 3, 0.9, 170),
    "102 classes with long names": (LONG, 3, 0.8, 170),
    "one seed, no mistake": (DIGITS, 1, 1.0, 170),
    "two classes, narrow": (["cat", "dog"], 2, 0.7, 140),
    "102 classes, wide": (LONG, 2, 0.5, 250),
}


@pytest.mark.parametrize("study", STUDIES)
def test_texts_stay_on_the_page_and_apart(study):
    for name, figure in every_figure(*STUDIES[study]).items():
        boxes = drawn_texts(figure)
        width, height = figure.get_size_inches() * 200
        texts, extents = list(boxes), np.array(list(boxes.values()))
        for text, (x0, y0, x1, y1) in boxes.items():
            where = f"{name}: {text.get_text()!r} leaves the page"
            assert x0 >= -1 and y0 >= -1 and x1 <= width + 1 and y1 <= height + 1, where
        # A box has a little room around its letters, more so above and below.
        low = extents[:, :2] + (1, 0.18 * np.diff(extents[:, 1::2])[:, 0].min())
        high = extents[:, 2:] - (1, 0.18 * np.diff(extents[:, 1::2])[:, 0].min())
        apart = (low[:, None] >= high[None]).any(axis=2)
        apart |= apart.T
        np.fill_diagonal(apart, True)
        pairs = [(texts[a].get_text(), texts[b].get_text()) for a, b in np.argwhere(~apart)]
        assert not pairs, f"{name}: texts overlap: {pairs[:3]}"


def test_figures_state_n_seeds_and_device():
    figures = every_figure(DIGITS, 3, 0.9, 170)
    for name in ("learning_curves", "confusion", "mistakes", "reliability", "grid", "schedules"):
        text = words(figures[name])
        assert "3 seeds (0, 1, 2)" in text, name
        assert "device: cpu" in text, name
        assert " images" in text, name
    assert "40 test images" in words(figures["confusion"])
    curves = words(figures["learning_curves"])
    assert all(word in curves for word in ("head only", "blocks", "whole model", "Crosses"))
    assert "10 classes" in words(figures["class_counts"])
    assert "selected" in words(figures["grid"])


def test_files_are_valid_and_the_same_every_time(tmp_path):
    for attempt in ("first", "second"):
        for name, figure in every_figure(DIGITS, 2, 0.9, 170).items():
            paths = [tmp_path / attempt / f"{name}.{kind}" for kind in ("svg", "png")]
            style.save(figure, paths, dpi=100)
    for first in sorted((tmp_path / "first").iterdir()):
        assert first.read_bytes() == (tmp_path / "second" / first.name).read_bytes(), first.name
        if first.suffix == ".svg":
            ElementTree.parse(first)
        else:
            with Image.open(first) as image:
                assert abs(image.width - 170 / 25.4 * 100) <= 1


def test_svg_holds_title_and_no_date(tmp_path):
    figure = every_figure(DIGITS, 1, 0.9, 170)["confusion"]
    style.save(figure, [tmp_path / "x.svg"], dpi=100)
    text = (tmp_path / "x.svg").read_text()
    assert "Confusion matrix of unfreeze_last" in text
    assert "dc:date" not in text


def test_unknown_format_is_one_line(tmp_path):
    figure = style.message_page("title", "subtitle", "nothing", 100)
    with pytest.raises(ConfigError, match=r"figures\.formats: 'gif'"):
        style.save(figure, [tmp_path / "x.gif"], dpi=100)


def test_no_test_images_are_said():
    table = made.assignments(DIGITS, (6, 0, 0))
    results = of_runs([made.predictions(made.assignments(DIGITS, (1, 1, 1)), 0, 0.9)]).iloc[:0]
    names = {**NAMES, "width_mm": 170}
    for figure in (
        confusion.draw(results, DIGITS, **names),
        reliability.draw(results, **names),
        mistakes.draw(made.thumbnails(results), results, DIGITS, **names),
    ):
        assert "no test images" in words(figure)
    assert "60 training" in words(class_counts.draw(table, study="x", width_mm=170))
    summary = made.summary({"frozen": 0.5}, [0], test=False).assign(train_seconds=np.nan)
    assert "validation" in words(schedules.draw(summary, study="x", shown=None, width_mm=170))


def test_validation_stands_in_where_nothing_is_tested():
    table = made.assignments(DIGITS, (6, 5, 0))
    results = of_runs([made.predictions(table, 0, 0.9)])
    figure = confusion.draw(results, DIGITS, width_mm=170, **NAMES)
    assert "50 validation images" in words(figure)


def test_no_mistakes_are_said():
    figures = every_figure(DIGITS, 2, 1.0, 170)
    assert "none of the 40 test images was misclassified" in words(figures["mistakes"])
    assert "every image was" in words(figures["confusion"])


def test_one_seed_has_no_spread():
    assert "±" not in words(every_figure(DIGITS, 1, 0.9, 170)["grid"])
    assert tables.percent([0.9]) == "90.0 %"
    assert tables.percent([0.8, 1.0]) == "90.0 ± 14.1 %"


def test_rejected_grid_points_are_not_compared():
    final = made.summary({"searched": 0.8}, [0, 1]).assign(selected=True)
    winner = final.assign(run=final["run"].str.replace("-s", "-g01-s"), accuracy=0.1)
    loser = final.assign(run=final["run"].str.replace("-s", "-g00-s"), selected=False)
    runs = schedules.compared_runs(pd.concat([loser, winner, final]), None)
    assert sorted(runs["run"].unique()) == ["searched-s0", "searched-s1"]
    shown = schedules.compared_runs(made.summary({"a": 0.5, "b": 0.6}, [0]), ["b"])
    assert set(shown["experiment"]) == {"b"}


def test_experiments_are_sorted_by_test_accuracy():
    summary = made.summary({"low": 0.5, "high": 0.9, "untested": 0.99}, [0, 1])
    summary = summary[(summary["experiment"] != "untested") | (summary["split"] == "valid")]
    assert schedules.order_experiments(summary) == ["high", "low", "untested"]
    figure = schedules.draw(summary, study="x", shown=None, width_mm=170)
    assert "no test" in words(figure)


def test_phases_are_aligned_and_early_stops_found():
    histories = of_runs([made.history(0, SCHEDULE), made.history(1, SCHEDULE, stop=2)])
    aligned, phases = learning_curves.align(histories)
    assert list(phases["first"]) == [1, 5, 8]
    assert list(phases["last"]) == [4, 7, 15]
    assert list(aligned.loc[aligned["run"] == "x-s1", "x"][:4]) == [1, 2, 5, 6]
    stopped = learning_curves.stops(aligned, phases)
    assert list(zip(stopped["run"], stopped["x"])) == [("x-s1", 2)]


def test_learning_curves_go_on_over_epochs_that_were_not_validated():
    """Of every second epoch and the last one; with early stops in one of the runs."""
    histories = of_runs([made.history(0, [("all", 7)]), made.history(1, [("all", 7)], stop=4)])
    valid = ["valid_loss", "valid_accuracy"]
    last = histories.groupby("run")["epoch"].transform("max")
    known = (histories["epoch"] % 2 == 0) | (histories["epoch"] == last)
    histories.loc[~known, valid] = np.nan
    figure = every_curve(histories)
    for axes in (axes for axes in figure.axes if axes.lines):
        lines = [line for line in axes.lines if line.get_linewidth() == 1.7]
        places = {line.get_color(): line.get_xdata().tolist() for line in lines}
        assert places[learning_curves.CURVES["train"]["color"]] == [1, 2, 3, 4, 5, 6, 7]
        assert places[learning_curves.CURVES["valid"]["color"]] == [2, 4, 6, 7]
        thin = [line for line in axes.lines if line.get_linewidth() == 0.6]
        ends = [np.isfinite(line.get_ydata(orig=True).astype(float)).sum() for line in thin]
        assert sorted(ends) == [2, 4, 4, 7]
    assert "validation" in words(figure)


def every_curve(histories):
    names = {"study": "x", "experiment": "one", "device": "cpu", "width_mm": 170}
    return learning_curves.draw(histories, made.assignments(DIGITS, (6, 3, 4)), **names)


def test_most_confused_pairs_are_counted():
    counts = np.array([[5, 0, 3], [4, 9, 0], [0, 3, 1]])
    assert confusion.most_confused(counts) == [(1, 0), (2, 1), (0, 2)]
    results = pd.DataFrame({"label": [0, 0, 2], "predicted": [0, 1, 1]})
    assert confusion.count_pairs(results, 3).tolist() == [[1, 1, 0], [0, 0, 0], [0, 1, 0]]


def test_calibration_error_by_hand():
    probability = np.array([0.95, 0.95, 0.55, 1.0])
    correct = np.array([True, False, True, True])
    # Bin (0.933, 1]: 3 predictions, confidence 0.9667, accuracy 0.6667; bin (0.533, 0.6]: 1, 0.55.
    assert reliability.calibration_error(probability, correct) == pytest.approx(
        (3 * 0.3 + 0.45) / 4
    )
    assert (
        reliability.bin_predictions(np.array([0.0, 0.2]), np.array([1, 0]))["count"][:3].sum() == 2
    )


def test_an_image_shows_once_among_the_mistakes():
    table = made.assignments(DIGITS, (1, 0, 4))
    thumbnails = of_runs([made.thumbnails(made.predictions(table, 0, 0.0), 5)] * 2)
    chosen = mistakes.surest(thumbnails)
    assert len(chosen) == 5
    assert chosen["probability"].is_monotonic_decreasing


def test_a_class_may_be_called_none(tmp_path):
    write_csv(tmp_path / "a.csv", made.assignments(["None", "NA", "1"], (1, 1, 1)))
    table = tables.read_table(tmp_path / "a.csv", tables.ASSIGNMENTS)
    assert tables.class_names(table) == ["None", "NA", "1"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        ("", "not a readable CSV"),
        ("id,split\n", "column label, class_name is missing"),
        ("id,split,label,class_name\n", "no rows"),
        ('id,split\n"a', "not a readable CSV"),
    ],
)
def test_a_bad_table_is_one_line_with_its_name(tmp_path, content, message):
    path = tmp_path / "assignments.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        tables.read_table(path, tables.ASSIGNMENTS)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bad_run_thumbnail_or_class_is_named(tmp_path):
    table = made.assignments(DIGITS, (1, 0, 4))
    results = of_runs([made.predictions(table, 0, 0.0)])
    names = {**NAMES, "width_mm": 170}
    broken = made.thumbnails(results, 3).assign(image="no image")
    with pytest.raises(DataError, match=r"runs/x-s0/thumbnails\.csv: image test-\d+: not a base64"):
        mistakes.draw(broken, results, DIGITS, **names)
    with pytest.raises(DataError, match=r"runs/x-s0/predictions\.csv: class 9 is unknown"):
        confusion.draw(results, DIGITS[:9], **names)
    write_csv(tmp_path / "odd" / "history.csv", made.history(0, SCHEDULE))
    with pytest.raises(DataError, match="folder odd is no run id"):
        tables.read_runs([tmp_path / "odd" / "history.csv"], learning_curves.COLUMNS)


def test_long_names_keep_their_ends():
    short = style.shorten("experiment_with_a_long_name_12", 7, 25)
    assert short.startswith("experiment") and short.endswith("12") and "…" in short
    assert style.text_width(short, 7) <= 25
    lines = style.wrap("at most 5 points lost with 90 % confidence", 7, 36)
    assert len(lines) > 1 and not any(line.startswith("%") for line in lines)
    assert " ".join(lines) == "at most 5 points lost with 90 % confidence"
    assert style.spread([1.0, 1.1, 9.0], 2, 0, 10) == [1.0, 3.0, 9.0]
    assert style.spread([9.8, 9.9], 2, 0, 10) == [8.0, 10.0]


def test_jobs_draw_what_their_rules_declare(tmp_path):
    table = made.assignments(DIGITS, (6, 3, 4))
    results = [made.predictions(table, seed, 0.8) for seed in range(2)]
    for seed in range(2):
        run = tmp_path / f"runs/frozen-s{seed}"
        write_csv(run / "history.csv", made.history(seed, SCHEDULE))
        write_csv(run / "predictions.csv", results[seed])
        write_csv(run / "thumbnails.csv", made.thumbnails(results[seed]).iloc[: 5 * seed])
    write_csv(tmp_path / "splits/assignments.csv", table)
    chosen = table.drop_duplicates("label")
    image = made.png(np.random.default_rng(0))
    write_csv(tmp_path / "splits/samples.csv", chosen.assign(image=image))
    write_csv(tmp_path / "summary.csv", made.summary({"frozen": 0.8, "all": 0.9}, [0, 1]))
    write_csv(tmp_path / "grid/frozen.csv", made.grid({"lr": [0.1, 0.2]}))
    of = {"runs": ["frozen-s0", "frozen-s1"], "experiment": "frozen", "splits": "splits"}
    drawn = []
    whole = [*all_figures.DATA.figures[:2], *all_figures.EXPERIMENT.figures]
    schedules = [one for one in all_figures.COMPARISON.figures if one.name == "schedules"]
    for figures in (whole, all_figures.SEARCH.figures, schedules):
        options = {"experiments": ["frozen"]}
        drawn += made.run_job(figures, tmp_path, options=options, **of)
    assert len(drawn) == 16
    assert all(path.stat().st_size > 1000 for path in drawn)


def test_each_figure_has_a_name_a_caption_and_a_module_that_needs_what_its_line_says():
    figures = [figure for group in all_figures.GROUPS for figure in group.figures]
    figures += [figure for name in registry.METHODS for figure in registry.method(name).figures]
    figures = list(dict.fromkeys(figures))  # a page of several methods is one
    assert len({figure.name for figure in figures}) == len(figures)
    for figure in figures:
        module = import_module(figure.module)
        assert set(module.NEEDS) == set(figure.needs), figure.name
        assert (LIBRARY / caption(figure)).is_file(), figure.name


def test_figures_never_import_torch():
    rooms = [LIBRARY / "figures", *sorted((LIBRARY / "methods").glob("*/figures"))]
    paths = [path.relative_to(WORKFLOW) for room in rooms for path in sorted(room.glob("*.py"))]
    names = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in paths]
    imports = "; ".join(f"import {name}" for name in names)
    code = f"import sys; {imports}; print('torch' in sys.modules, 'snakemake' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(WORKFLOW)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.split() == ["False", "False"]
