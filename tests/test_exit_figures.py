"""The figures of early exits: drawn from made-up tables, whole, legible, the same each time."""

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from frugalvit.errors import DataError
from frugalvit.figures import panel, point_words, style
from frugalvit.files import write_csv
from frugalvit.methods import registry
from frugalvit.methods.early_exit.figures import (
    FIGURES,
    exit_accuracy,
    exit_calibration,
    exit_chance,
    exit_depth,
    exit_images,
    exit_tradeoff,
    exit_words,
)
from frugalvit.operating_point import FULL
from tests import exit_tables as made
from tests import figure_tables
from tests.test_figures import DIGITS, LONG, drawn_texts, words

NAMES = {"study": "made_up", "experiment": "early_exit", "device": "cpu", "width_mm": 170}
SMALL = made.Model([1, 2, 3, 4, 5, 6], gflops=0.0213)
BASE = made.Model(list(range(1, 13)), worst=0.12, best=0.86, gflops=9.2, n=6149)
LARGE = made.Model(list(range(1, 25)), gflops=123.0)
SPARSE = made.Model([4, 8, 12], gflops=9.2)
GRID_OF_COSTS = re.compile(r"\d+\.\d % at \d+ %")
LONG_NOTE = "no threshold passed, so the full model answers for every image"


def of_runs(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """One table of runs, as `tables.read_runs` gives it."""
    runs = [table.assign(run=f"early_exit-s{seed}", seed=seed) for seed, table in enumerate(tables)]
    return pd.concat(runs, ignore_index=True)


def results(model: made.Model, classes: list[str], seeds: int, **points) -> dict:
    """The tables of one made-up experiment."""
    assignments = figure_tables.assignments(classes, (1, 1, 8 if len(classes) < 20 else 2))
    predictions = [made.predictions(model, assignments, seed) for seed in range(seeds)]
    return {
        "assignments": assignments,
        "exits": [made.exits(model, seed) for seed in range(seeds)],
        "points": [made.points(model, seed, **points) for seed in range(seeds)],
        "predictions": predictions,
        "images": [made.images(table) for table in predictions],
        "probes": made.probes(model),
    }


def every_figure(model, classes, seeds, *, rivals=None, width=170, **points) -> dict:
    """All five figures of one made-up experiment."""
    names, rivals = {**NAMES, "width_mm": width}, rivals or {}
    found = results(model, classes, seeds, **points)
    runs = {name: of_runs(found[name]) for name in ("exits", "points", "predictions", "images")}
    summary = made.rivals(model, rivals, seeds, points.get("latency", True))
    targets = {"targets": made.TARGETS}
    of_points = (runs["points"], runs["exits"], summary)
    of_depth = (runs["predictions"], runs["exits"], runs["points"], classes)
    return {
        "exit_accuracy": exit_accuracy.draw(runs["exits"], found["probes"], **names),
        "exit_calibration": exit_calibration.draw(runs["exits"], **names),
        "exit_tradeoff": exit_tradeoff.draw(*of_points, rivals=rivals, **targets, **names),
        "exit_depth": exit_depth.draw(*of_depth, **targets, **names),
        "exit_images": exit_images.draw(runs["images"], runs["predictions"], classes, **names),
    }


def tradeoff(
    points: pd.DataFrame,
    rivals: dict | None = None,
    targets: dict | None = None,
    model: made.Model = SMALL,
):
    """The trade-off of a model."""
    summary = made.rivals(SMALL, rivals or {}, 1)
    exits = of_runs([made.exits(model, seed) for seed in range(points["seed"].max() + 1)])
    targets = made.TARGETS if targets is None else targets
    return exit_tradeoff.draw(points, exits, summary, rivals=rivals or {}, targets=targets, **NAMES)


STUDIES = {
    "digits, three seeds": ((SMALL, DIGITS, 3), {"rivals": {"first_two": 2, "first_four": 4}}),
    "102 classes, rivals": ((BASE, LONG, 3), {"rivals": {"first_six": 6, "first_nine": 9}}),
    "one seed, not timed": ((BASE, DIGITS[:5], 1), {"rivals": {"one": 1}, "latency": False}),
    "24 exits, narrow": ((LARGE, LONG[:30], 2), {"width": 140, "chosen": "full"}),
    "24 exits, wide": ((LARGE, LONG[:31], 3), {"width": 250, "chosen": "drop"}),
    "one criterion, two classes": (
        (SPARSE, ["cat", "dog"], 3),
        {"criteria": ("entropy",), "chosen": "budget"},
    ),
    "tiny, narrow": ((made.Model([1, 2, 3], gflops=0.0169), DIGITS, 2), {"width": 140}),
    "patience alone": ((SPARSE, ["cat", "dog"], 1), {"criteria": ("patience",)}),
}


@pytest.mark.parametrize("study", STUDIES)
def test_texts_stay_on_the_page_and_apart(study):
    arguments, settings = STUDIES[study]
    for name, figure in every_figure(*arguments, **settings).items():
        boxes = drawn_texts(figure)
        width, height = figure.get_size_inches() * 200
        texts, extents = list(boxes), np.array(list(boxes.values()))
        for text, (x0, y0, x1, y1) in boxes.items():
            where = f"{name}: {text.get_text()!r} leaves the page"
            assert x0 >= -1 and y0 >= -1 and x1 <= width + 1 and y1 <= height + 1, where
        # A box has a little room around its letters, more so above and below.
        slack = 0.18 * np.diff(extents[:, 1::2])[:, 0].min()
        low, high = extents[:, :2] + (1, slack), extents[:, 2:] - (1, slack)
        apart = (low[:, None] >= high[None]).any(axis=2)
        apart |= apart.T
        np.fill_diagonal(apart, True)
        pairs = [(texts[a].get_text(), texts[b].get_text()) for a, b in np.argwhere(~apart)]
        assert not pairs, f"{name}: texts overlap: {pairs[:3]}"


def test_figures_state_n_seeds_and_device():
    for name, figure in every_figure(SMALL, DIGITS, 3).items():
        text = words(figure)
        assert "device: cpu" in text, name
        assert " test images" in text, name
        assert ("1 seed (0)" if name == "exit_images" else "3 seeds (0, 1, 2)") in text, name


def test_files_are_the_same_every_time(tmp_path):
    for attempt in ("first", "second"):
        for name, figure in every_figure(SMALL, DIGITS, 2, rivals={"first_two": 2}).items():
            paths = [tmp_path / attempt / f"{name}.{kind}" for kind in ("svg", "png")]
            style.save(figure, paths, dpi=80)
    for first in sorted((tmp_path / "first").iterdir()):
        assert first.read_bytes() == (tmp_path / "second" / first.name).read_bytes(), first.name


def test_the_chosen_point_is_named_with_its_guarantee():
    text = words(tradeoff(of_runs([made.points(SMALL, 0)])))
    assert "chosen: risk, at most 2 points lost with 90 % confidence" in text
    assert "risk, at most 5 points lost with 95 % confidence" in text
    assert "drop, at most 1 point lost on calibration images" in text
    assert "budget, at most 75 % of the full model's GFLOPs" in text
    full = words(tradeoff(of_runs([made.points(SMALL, 0, chosen="full")])))
    assert "chosen: full model" in full


@pytest.mark.parametrize(
    ("targets", "delta"),
    [
        ({"risk": [{"epsilon": 0.01, "delta": 0.2}, {"epsilon": 0.02, "delta": 0.1}]}, 0.1),
        ({"risk": {"epsilon": 0.02, "delta": 0.05}}, 0.05),
        ({"risk": [0.02], "delta": 0.1}, 0.1),
        ({"risk": 0.02, "delta": 0.1}, 0.1),
        ({"risk": [{"epsilon": 0.05, "delta": 0.1}]}, None),
        ({}, None),
    ],
)
def test_confidence_is_that_of_the_target(targets, delta):
    assert exit_words.delta_of(0.02, targets) == delta


def test_targets_are_those_of_the_method():
    assert set(exit_words.TARGETS) == set(registry.method("early_exit").targets) - {FULL}


def test_points_lost_are_each_seeds_own():
    # Seeds differ by 0.4 points, what they lose does not: paired, it has next to no spread.
    points = of_runs([made.points(SMALL, 0), made.points(SMALL, 1)])
    full = points["setting"] == "full"
    points["accuracy"] = np.where(full, 0.9, 0.88) + 0.05 * points["seed"]
    assert "2.0 ± 0.0" in words(tradeoff(points))


def test_the_point_in_use_has_one_number():
    points = of_runs([made.points(SMALL, seed) for seed in range(3)])
    chosen = (points["setting"] == "risk") & (points["value"] == 0.02)
    points.loc[chosen & (points["split"] == "test"), "accuracy"] = 0.6543
    text = words(tradeoff(points))
    assert text.count("65.4") == 2, "in the table, and in the panel of the criterion in use"
    assert re.search(r"65\.4 % at \d+ %", text)
    full = GRID_OF_COSTS.findall(text)
    assert len(full) == len(exit_words.criteria_of(points)), "each criterion has its measured point"


def test_a_curve_keeps_to_values_that_all_seeds_reached():
    points = of_runs([made.points(SMALL, 0), made.points(SMALL, 1)])
    points = points[points["split"] == "test"]
    fewer = points[
        ~((points["seed"] == 1) & (points["setting"] == "margin") & (points["value"] > 0.5))
    ]
    assert list(point_words.curve(points, "margin").index) == [0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert list(point_words.curve(fewer, "margin").index) == [0.4, 0.5]
    alone = points[
        (points["setting"] == "margin") & (points["value"] > 0.5) == (points["seed"] == 1)
    ]
    assert len(point_words.curve(alone[alone["setting"] == "margin"], "margin")) == 6


def test_latency_has_a_panel_only_where_it_was_measured():
    timed = words(tradeoff(of_runs([made.points(SMALL, 0)])))
    untimed = words(tradeoff(of_runs([made.points(SMALL, 0, latency=False)])))
    assert "measured latency of one image (ms)" in timed
    assert "measured latency" not in untimed
    assert "Latency was not measured" in untimed
    some = of_runs([made.points(SMALL, 0)])
    some.loc[some["setting"] != "full", ["latency_ms", "latency_p95_ms", "images_per_s"]] = np.nan
    assert "measured latency of one image (ms)" in words(tradeoff(some))


def test_rivals_are_named_wherever_they_lie():
    points = of_runs([made.points(SMALL, 0)])
    text = words(tradeoff(points, {"truncated": 4, "tiny": 1}))
    assert "first 4 blocks" in text
    # Far below the curves: its number stands for its place.
    assert re.search(r"first 1 block: \d\d\.\d %", text)
    assert "points down lies below the panel" in text
    summary = made.rivals(SMALL, {"truncated": 4}, 1)
    missing = {"truncated": 4, "not_run": 2}
    exits = of_runs([made.exits(SMALL, 0)])
    figure = exit_tradeoff.draw(points, exits, summary, rivals=missing, targets={}, **NAMES)
    assert "Without results: not_run" in words(figure)


def test_the_table_keeps_its_columns_apart():
    model = made.Model([1, 2, 3], gflops=0.00213)
    points = of_runs([made.points(model, seed, chosen="full") for seed in range(2)])
    full = points["setting"] == "full"
    points.loc[full, ["images_per_s", "latency_ms"]] = (1_234_567.0, 0.00123)
    boxes = drawn_texts(tradeoff(points, model=model))
    row = next(box for text, box in boxes.items() if text.get_text().startswith("chosen: full"))
    height = row[3] - row[1]
    line = sorted(tuple(box) for box in boxes.values() if abs(box[3] - row[3]) < height / 2)
    assert len(line) >= 5
    assert all(left[2] < right[0] for left, right in pairwise(line))


def test_a_fallback_is_said_with_its_seeds():
    points = of_runs([made.points(SMALL, seed) for seed in range(3)])
    points["note"] = points["note"].astype(object)
    fell = (points["setting"] == "risk") & (points["value"] == 0.02) & (points["seed"] == 1)
    points.loc[fell, "note"] = LONG_NOTE
    assert f"Chosen (seed 1): {LONG_NOTE}." in words(tradeoff(points))


def test_a_curve_that_is_not_in_use_is_named():
    points = of_runs([made.points(SMALL, 0, criteria=("margin",))])
    points.loc[points["criterion"].notna(), "criterion"] = "entropy"
    text = words(tradeoff(points))
    assert "margin" in text and "Blue" not in text


def test_exit_accuracy_says_how_it_compares_with_the_probe():
    exits = of_runs([made.exits(SMALL, 0)])
    exits["accuracy"] = 0.5 + 0.05 * exits["exit"]
    probes = pd.DataFrame({"block": range(1, 7), "split": "test", "n": 360})
    probes["accuracy"] = 0.48 + 0.05 * probes["block"]
    above = words(exit_accuracy.draw(exits, probes, **NAMES))
    assert "Smallest lead over the probe: 2.0 points, after block" in above
    probes.loc[2, "accuracy"] = 0.68
    below = words(exit_accuracy.draw(exits, probes, **NAMES))
    assert "Largest lag behind the probe: 3.0 points, after block 3." in below
    alone = words(exit_accuracy.draw(exits, probes.iloc[:0], **NAMES))
    assert "probe" not in alone.lower()


def test_no_accuracy_beyond_100_is_marked():
    exits = of_runs([made.exits(SMALL, 0)]).assign(accuracy=0.999)
    points = of_runs([made.points(SMALL, 0)]).assign(accuracy=0.999)
    for figure in (exit_accuracy.draw(exits, made.probes(SMALL), **NAMES), tradeoff(points)):
        drawn_texts(figure)
        panel = next(axes for axes in figure.axes if axes.get_ylabel() == "accuracy (%)")
        assert 0 < max(panel.get_yticks()) <= 100


def test_temperatures_and_errors_are_in_numbers():
    exits = of_runs([made.exits(SMALL, 0)])
    exits["temperature"], exits["ece"], exits["ece_calibrated"] = 1.37, 0.123, 0.045
    text = words(exit_calibration.draw(exits, **NAMES))
    assert all(number in text for number in ("1.37", "12.3", "4.5"))
    missing = exits.assign(temperature=np.nan, ece_calibrated=np.nan)
    assert "12.3" in words(exit_calibration.draw(missing, **NAMES))


def test_shares_and_mean_exits_by_hand():
    runs = ["x-s0"] * 4 + ["x-s1"] * 4
    table = pd.DataFrame({"run": runs, "label": [0, 0, 1, 1] * 2, "exit": [1, 3, 6, 6, 1, 1, 3, 6]})
    shares = exit_depth.shares_by_exit(table, [1, 2, 3, 6])
    assert shares["x-s0"].tolist() == [0.25, 0, 0.25, 0.5]
    assert shares["x-s1"].tolist() == [0.5, 0, 0.25, 0.25]
    depths = exit_depth.depth_by_class(table)
    assert list(depths.index) == [0, 1]
    assert depths.loc[1].tolist() == [6, 4.5]


def test_of_many_classes_the_ends_are_shown():
    text = words(every_figure(BASE, LONG, 1)["exit_depth"])
    assert "72 classes between" in text
    assert "the 15 earliest and 15 latest classes" in text
    assert "between" not in words(every_figure(BASE, LONG[:30], 1)["exit_depth"])


def test_images_are_of_the_lowest_seed_and_mistakes_are_marked():
    found = results(SMALL, DIGITS, 2)
    images = of_runs([table.assign(predicted=table["label"]) for table in found["images"]])
    predictions = of_runs(found["predictions"])
    assert "✗ " not in words(exit_images.draw(images, predictions, DIGITS, **NAMES)).split("(✗)")[0]
    images.loc[images["seed"] == 0, "predicted"] = (images["label"] + 1) % 10
    text = words(exit_images.draw(images, predictions, DIGITS, **NAMES))
    assert "12 of them wrong" in text
    assert len(re.findall(r"✗ \d", text)) == 24
    other = exit_images.draw(images[images["seed"] == 1], predictions, DIGITS, **NAMES)
    assert "1 seed (1)" in words(other)


def test_groups_are_ordered_by_exit():
    images = of_runs(results(SMALL, DIGITS, 1)["images"]).sample(frac=1, random_state=0)
    assert exit_images.group_of(images, "first")["exit"].is_monotonic_increasing
    assert exit_images.group_of(images, "last")["exit"].is_monotonic_decreasing


def test_no_test_images_or_pictures_are_said():
    found = results(SMALL, DIGITS, 1)
    exits, points, predictions, images = (
        of_runs(found[name]).query("split not in ['test', 'valid']")
        for name in ("exits", "points", "predictions", "images")
    )
    assert predictions.empty and len(exits)
    predictions = predictions.assign(seed=[], run=[])
    depth = (predictions, exits, points, DIGITS)
    for figure in (
        exit_accuracy.draw(exits, found["probes"], **NAMES),
        exit_calibration.draw(exits, **NAMES),
        tradeoff(points),
    ):
        assert "no test images" in words(figure)
    assert "no test images" in words(exit_depth.draw(*depth, targets={}, **NAMES))
    whole = of_runs(found["predictions"])
    assert "no pictures were saved" in words(exit_images.draw(images, whole, DIGITS, **NAMES))


def test_validation_stands_in_where_nothing_is_tested():
    exits = of_runs([made.exits(SMALL, 0)]).query("split != 'test'")
    assert "360 validation images" in words(exit_accuracy.draw(exits, made.probes(SMALL), **NAMES))


def test_a_bad_exit_class_or_picture_is_named():
    found = results(SMALL, DIGITS, 1)
    exits, points = of_runs(found["exits"]), of_runs(found["points"])
    predictions, images = of_runs(found["predictions"]), of_runs(found["images"])
    odd = predictions.assign(exit=7)
    with pytest.raises(DataError, match=r"early_exit-s0/predictions\.csv: image .* after block 7"):
        exit_depth.draw(odd, exits, points, DIGITS, targets={}, **NAMES)
    with pytest.raises(DataError, match=r"predictions\.csv: class 9 is unknown"):
        exit_depth.draw(predictions, exits, points, DIGITS[:9], targets={}, **NAMES)
    with pytest.raises(DataError, match=r"early_exit-s0/exit_images\.csv: image .*: not a base64"):
        exit_images.draw(images.assign(image="none"), predictions, DIGITS, **NAMES)


def test_labels_find_free_places():
    taken = [(0.0, 0.0, 9.0, 20.0), (11.0, 0.0, 20.0, 20.0)]
    box = panel.place_label((1.5, 2.0), (10.0, 10.0), taken, (20.0, 20.0))
    assert all(panel.overlap(box, other) == 0 for other in taken)
    corner = panel.place_label((6.0, 3.0), (20.0, 0.0), [], (20.0, 20.0))
    assert corner[0] >= 0 and corner[1] >= 0 and corner[2] <= 20 and corner[3] <= 20


def write_results(folder: Path, seeds: int) -> dict[str, Path]:
    """The CSVs of an experiment as they lie in a study's results; each table, of one run."""
    found = results(SMALL, DIGITS, seeds)
    files = {"exits": "exits", "points": "operating_points"}
    files |= {"predictions": "predictions", "images": "exit_images"}
    paths = {}
    for name, file in files.items():
        for seed, table in enumerate(found[name]):
            paths[name] = folder / f"runs/early_exit-s{seed}/{file}.csv"
            write_csv(paths[name], table)
    for name in ("assignments", "probes"):
        paths[name] = folder / f"splits/{name}.csv"
        write_csv(paths[name], found[name])
    paths["summary"] = folder / "summary.csv"
    write_csv(paths["summary"], made.rivals(SMALL, {"first_four": 4}, seeds))
    return paths


def draw_all(folder: Path, seeds: int) -> list[Path]:
    """Draw every figure from what `write_results` wrote."""
    return figure_tables.run_job(
        FIGURES,
        folder,
        runs=[f"early_exit-s{seed}" for seed in range(seeds)],
        experiment="early_exit",
        splits="splits",
        options={"rivals": {"first_four": 4}, "targets": made.TARGETS},
        own={"exits": "exits.csv", "exit_images": "exit_images.csv"},
    )


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_job_draws_what_its_rule_declares(tmp_path, seeds):
    write_results(tmp_path, seeds)
    drawn = draw_all(tmp_path, seeds)
    assert len(drawn) == 10
    assert all(path.stat().st_size > 1000 for path in drawn)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("exits", "ece_calibrated"),
        ("points", "setting"),
        ("predictions", "exit"),
        ("images", "group"),
        ("probes", "block"),
        ("summary", "gflops"),
    ],
)
def test_a_lacking_column_is_named_with_its_file(tmp_path, name, column):
    path = write_results(tmp_path, 1)[name]
    write_csv(path, pd.read_csv(path).drop(columns=column))
    with pytest.raises(DataError, match=f"column {column} is missing") as caught:
        draw_all(tmp_path, 1)
    assert str(path) in str(caught.value)


def test_chance_weighs_each_exits_own_accuracy_by_how_many_leave_there():
    exits = pd.DataFrame(
        {"run": ["a-s0"] * 3 + ["a-s1"] * 3, "exit": [1, 2, 6] * 2, "split": "test",
         "accuracy": [0.5, 0.8, 0.9, 0.4, 0.7, 1.0]}
    )  # fmt: skip
    points = pd.DataFrame(
        {"run": ["a-s0", "a-s1"], "seed": [0, 1], "setting": "confidence", "value": 0.5,
         "accuracy": 0.88, "gflops": [1.0, 3.0], "latency_ms": 2.0,
         "exit_histogram": ["10 30 60", "0 0 50"]}
    )  # fmt: skip
    line = exit_chance.by_chance(points, exits, "confidence", "test")
    assert line["gflops"].tolist() == [2.0]
    assert line["accuracy"].item() == pytest.approx(((0.05 + 0.24 + 0.54) + 1.0) / 2)
