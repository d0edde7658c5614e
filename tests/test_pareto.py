"""The Pareto figure and the table of adaptive tokens: shares, domination and numbers by hand."""

import re

import numpy as np
import pandas as pd
import pytest

from frugalvit.figures import comparison, pareto, style
from frugalvit.figures.looks import read_looks
from frugalvit.figures.ranking import non_dominated
from frugalvit.figures.shown import look_of
from frugalvit.methods import registry
from frugalvit.methods.tokens.figures import token_table
from tests import token_tables as made
from tests.test_avit_figures import check_texts
from tests.test_figures import words

PLAIN = {"plain": None, "first_four": 4}
ADAPTIVE = ["early_exit", "avit", "merging", "pruning"]


def networks(kept: dict[str, int | None], adaptive=()) -> dict[str, str]:
    """What tells the network of each experiment from the full model, in words."""
    words = {name: f"first {keep} blocks alone" if keep else "" for name, keep in kept.items()}
    return {**words, **dict.fromkeys(adaptive, "")}


SHOWN = networks(PLAIN, ADAPTIVE)
BATCH = 32
LOOKS = read_looks({name: look_of(name) for name in registry.METHODS})


def figure_of(tables, experiments=SHOWN, width: float = 170):
    """The Pareto figure of operating points, summary and costs."""
    fixed = {"study": "made_up", "looks": LOOKS, "throughput_batch": BATCH, "width_mm": width}
    return pareto.draw(*tables, experiments=experiments, **fixed)


def shares_of(tables, experiments=SHOWN) -> pd.DataFrame:
    """All points as shares, a row a run."""
    return comparison.compared(*tables, experiments, LOOKS, "test", BATCH)


STUDIES = {
    "three seeds": (PLAIN, ADAPTIVE, 3, True, made.Model(), 170),
    "twelve blocks, two of a kind": (
        {**PLAIN, "plain_b": None, "first_two": 2},
        [*ADAPTIVE, "avit_from_plain"],
        3,
        True,
        made.Model(blocks=12, n=6149, gflops=9.2),
        170,
    ),
    "one seed, narrow": ({"plain": None}, ["avit", "merging"], 1, True, made.Model(), 140),
    "not timed": (PLAIN, ["early_exit", "avit"], 2, False, made.Model(classes=2), 170),
    "plain ones alone, 24 blocks": (PLAIN, [], 2, True, made.Model(blocks=24), 250),
}


@pytest.mark.parametrize("study", STUDIES)
def test_texts_stay_on_the_page_and_apart(study):
    kept, adaptive, seeds, latency, model, width = STUDIES[study]
    found = made.study(kept, adaptive, seeds, latency, model)
    check_texts(study, figure_of(found, networks(kept, adaptive), width))


def test_a_point_is_dominated_by_one_as_cheap_and_better():
    cost = pd.DataFrame({0: [1.0, 2.0, 2.0, 3.0, 4.0, np.nan, 1.0]})
    accuracy = pd.DataFrame({0: [0.5, 0.7, 0.6, 0.7, 0.9, 1.0, 0.5]})
    kept = non_dominated(cost, accuracy)
    # Equal points do not dominate each other; a point without a cost is none.
    assert kept.tolist() == [True, True, False, False, True, False, True]
    more = non_dominated(cost, accuracy, less=False)
    assert more.tolist() == [False, False, False, False, True, False, False]


def test_points_are_compared_on_the_seeds_that_both_have():
    nan = np.nan
    # The second has the lucky seed alone: its mean is best, but on that seed the first is better.
    accuracy = pd.DataFrame([[0.9, 0.6], [0.8, nan], [nan, 0.65], [0.7, nan]])
    cost = pd.DataFrame([[1.0, 1.0], [1.0, nan], [nan, 1.0], [0.5, nan]])
    assert non_dominated(cost, accuracy).tolist() == [False, False, True, True]
    apart = pd.DataFrame([[0.9, nan], [nan, 0.1]])
    assert non_dominated(apart * 0 + 1, apart).all(), "without a common seed neither is better"


def test_times_are_shares_of_the_model_timed_beside():
    points, summary, costs = made.study(PLAIN, ["avit"], 2)
    # The second run met a machine twice as slow: its shares stay.
    slow = costs["run"] == "avit-s1"
    costs.loc[slow, "latency_ms"] *= 2
    costs.loc[slow, "images_per_s"] /= 2
    own = points["run"] == "avit-s1"
    points.loc[own, "latency_ms"] *= 2
    points.loc[own, "images_per_s"] /= 2
    table = shares_of((points, summary, costs))
    packed = table[table["setting"] == "packed"].set_index("run")
    full = costs[(costs["run"] == "avit-s1") & (costs["model"] == "full")].set_index("batch_size")
    point = points[own & (points["setting"] == "packed") & (points["split"] == "test")].iloc[0]
    assert packed.at["avit-s1", "latency_ms"] == pytest.approx(
        point["latency_ms"] / full.at[1, "latency_ms"]
    )
    assert packed.at["avit-s1", "images_per_s"] == pytest.approx(
        point["images_per_s"] / full.at[BATCH, "images_per_s"]
    )
    assert packed["latency_ms"].max() < 0.8
    assert packed["gflops"].tolist() == pytest.approx([0.71, 0.71])


def test_plain_models_are_shares_of_the_uncut_ones():
    table = shares_of(made.study(PLAIN, ["avit"], 3)).query("method != 'avit'")
    means = table.groupby("experiment")[list(comparison.SHARES)].mean()
    assert means.loc["plain"].tolist() == pytest.approx([1, 1, 1])
    assert means.at["first_four", "gflops"] == pytest.approx(4 / 6)
    assert means.at["first_four", "images_per_s"] > 1
    roles = table.groupby("experiment")["role"].first()
    assert roles["plain"] == comparison.PLAIN and roles["first_four"] == comparison.RIVAL


def test_masked_is_a_role_of_its_own_and_never_in_use():
    points, summary, costs = made.study({"plain": None}, ["avit"], 1)
    points["chosen"] = points["setting"].isin(["packed", "masked"])
    table = shares_of((points, summary, costs))
    masked = table[table["role"] == comparison.MASKED]
    assert masked["setting"].tolist() == ["masked"] and not masked["chosen"].any()
    assert masked["gflops"].tolist() == [1]
    assert "what removing halted tokens gains" in words(figure_of((points, summary, costs)))


def test_of_early_exits_the_criterion_in_use_is_compared():
    table = shares_of(made.study({"plain": None}, ["early_exit"], 1))
    assert set(table["setting"]) == {"", "confidence", "full", "budget", "drop", "risk"}


def test_curves_keep_to_values_that_all_seeds_have():
    rows = shares_of(made.study({"plain": None}, ["merging"], 2))
    fewer = rows[~((rows["run"] == "merging-s1") & (rows["value"] == 8))]
    table = comparison.over_seeds(fewer)
    assert table["value"].dropna().tolist() == [2, 4, 12]
    assert comparison.over_seeds(rows)["value"].dropna().tolist() == [2, 4, 8, 12]
    alone = rows[(rows["value"] <= 4) == (rows["run"] == "merging-s1")]
    assert len(comparison.over_seeds(alone[alone["experiment"] == "merging"])) == 4


def test_panels_and_their_words():
    timed = figure_of(made.study(PLAIN, ADAPTIVE, 3))
    text = words(timed)
    for word in ("GFLOPs per image", "latency of one image", "images per second, batch 32"):
        assert word in text
    assert "3 seeds (0, 1, 2)" in text and "360 test images" in text and "device: cpu" in text
    for words_of in (
        "avit A-ViT, packed, eps 0.01",
        "avit, masked A-ViT, masked only, eps 0.01",
        "first_four first 4 blocks alone",
        "merging token merging, r 4",
        "early_exit early exits, risk 0.02",
    ):
        assert words_of in text
    untimed = words(figure_of(made.study(PLAIN, ["avit"], 1, latency=False)))
    assert "latency of one image" not in untimed and "were not measured" in untimed


def test_every_experiment_has_its_own_name_in_panels_and_table():
    adaptive = ["avit", "avit_from_plain"]
    found = made.study({"plain": None, "other_plain": None}, adaptive, 1)
    shown = {"plain": None, "other_plain": None, **dict.fromkeys(adaptive)}
    figure = figure_of(found, shown)
    in_panels = [text.get_text() for axes in figure.axes for text in axes.texts]
    for name in (*shown, "avit, masked"):
        assert in_panels.count(name) == 3 and name in [text.get_text() for text in figure.texts]
    assert "avit_from_plain, masked" in words(figure), "long names are shortened in panels alone"


def test_no_number_is_bold():
    # Not dominated is not good: a cheap model may be right half of the time.
    figure = figure_of(made.study(PLAIN, ADAPTIVE, 2))
    bold = [text.get_text() for text in figure.texts if text.get_weight() == "bold"]
    assert bold == ["Accuracy against cost, every way to save compared"]


def test_the_grey_line_never_falls():
    points, summary, costs = made.study(PLAIN, ["avit", "merging"], 2)
    # Of the second seed alone, and on that seed as good as any: not dominated, its mean is lower.
    lone = (points["experiment"] == "merging") & (points["seed"] == 0)
    summary.loc[summary["seed"] == 1, "accuracy"] -= 0.05
    points.loc[points["seed"] == 1, "accuracy"] -= 0.05
    figure = figure_of((points[~lone], summary, costs))
    steps = [line for line in figure.axes[0].lines if line.get_color() == pareto.STEP["color"]]
    assert len(steps) == 1
    assert (np.diff(steps[0].get_ydata()) >= 0).all()


def test_filled_marks_are_those_not_dominated():
    found = made.study({"plain": None}, ["avit"], 1)
    figure = figure_of(found, {"plain": None, "avit": None})
    panel = figure.axes[0]
    filled = {}
    for line in panel.lines:
        if line.get_marker() in ("D", "s", "X") and len(line.get_xdata()) == 1:
            filled[line.get_marker(), round(float(line.get_xdata()[0]), 3)] = (
                line.get_markerfacecolor() != "white"
            )
    assert filled["D", 1.0] and not filled["X", 1.0]
    assert filled["s", 0.71] and filled["s", 0.54]


def test_what_lies_below_is_said():
    points, summary, costs = made.study(PLAIN, ["avit"], 1)
    summary.loc[summary["experiment"] == "first_four", "accuracy"] = 0.2
    figure = figure_of((points, summary, costs))
    assert "Below the panels: 1 point of first_four." in words(figure)
    assert figure.axes[0].get_ylim()[0] > 50


def test_nothing_to_compare_is_said():
    points, summary, costs = made.study(PLAIN, ["avit"], 1)
    assert "No experiment to compare" in words(figure_of((points, summary, costs), {"other": None}))


def test_adaptive_experiments_alone_are_compared():
    found = made.study({}, ["avit"], 1)
    text = words(figure_of(found, {"avit": None}))
    assert "A-ViT, packed, eps 0.01" in text and "plain, fine-tuned" not in text


def test_files_are_the_same_every_time(tmp_path):
    for attempt in ("first", "second"):
        figure = figure_of(made.study(PLAIN, ADAPTIVE, 2))
        style.save(figure, [tmp_path / f"{attempt}.svg"], dpi=80)
    assert (tmp_path / "first.svg").read_bytes() == (tmp_path / "second.svg").read_bytes()


def page(tables, metrics: pd.DataFrame, experiments=tuple(SHOWN)) -> tuple[str, list[list[str]]]:
    """The table's page, and the texts of its cells row by row."""
    html = token_table.draw(
        *tables, metrics, study="<made up>", experiments=experiments, looks=LOOKS
    )
    rows = re.findall(r"<tr.*?</tr>", html)
    cells = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in rows]
    return html, [[re.sub("<.*?>", "", cell) for cell in row] for row in cells]


def test_the_table_holds_masked_packed_and_plain():
    found = made.study(PLAIN, ADAPTIVE, 2)
    html, rows = page(found, made.metrics(made.Model(), "avit", 2))
    head = rows[1]
    rows = {(row[0], row[1]): dict(zip(head, row)) for row in rows[2:]}
    packed = rows["avit", "packed: halted tokens removed, eps 0.01"]
    assert packed["% of full"] == "71.0"
    assert "\N{MULTIPLICATION SIGN}1.30" in packed["32"]
    assert packed["accuracy"] == "93.3 ± 0.3" and packed["F1"] == "87.3 ± 0.3"
    masked = rows["", "masked: all computed, eps 0.01"]
    assert masked["top-1"] == packed["top-1"] and masked["% of full"] == "100.0"
    beside = rows["", "plain model, timed beside"]
    assert beside["top-1"] == style.DASH and "\N{MULTIPLICATION SIGN}1.00" in beside["32"]
    assert rows["merging", "r 4"]["accuracy"] == style.DASH
    assert rows["early_exit", "risk 0.02"]["1 image"] != style.DASH
    median, slow = re.match(r"([\d.]+) \(([\d.]+)\)$", packed["32 images"]).groups()
    assert float(slow) == pytest.approx(1.3 * float(median), rel=0.05)
    assert rows["first_four", "plain model"]["GFLOPs"] == "0.0142"
    assert "mean of per-batch macro averages (as the source reported)" in html.replace(
        "Mean of", "mean of"
    )
    assert "360 test images; 2 seeds (0, 1). Timed on cpu, 2 threads." in html
    assert "<made up>" not in html and "&lt;made up&gt;" in html


def test_figure_and_table_tell_one_share():
    found = points, _, costs = made.study(PLAIN, ["avit"], 1)
    timed = costs[(costs["model"] == "packed 0.01") & (costs["batch_size"] == BATCH)]
    points.loc[points["setting"] == "packed", "images_per_s"] = timed["images_per_s"].item()
    shares = shares_of(found, {**PLAIN, "avit": None})
    packed = shares[shares["setting"] == "packed"].iloc[0]
    _, rows = page(found, made.metrics(made.Model(), "avit", 1))
    told = next(dict(zip(rows[1], row)) for row in rows if row[0] == "avit")
    assert float(told["% of full"]) == pytest.approx(100 * packed["gflops"], abs=0.05)
    factor = float(told["32"].split("\N{MULTIPLICATION SIGN}")[1])
    assert factor == pytest.approx(packed["images_per_s"], abs=0.005)


def test_the_table_holds_every_batch_size_that_was_timed():
    found = made.study({"plain": None}, ["avit"], 1)
    metrics = made.metrics(made.Model(), "avit", 1)
    _, rows = page(found, metrics, ("plain", "avit"))
    assert rows[1][-3:] == ["1", "32", "128"]
    points, summary, costs = found
    costs = costs[costs["batch_size"] != 128]
    _, rows = page((points, summary, costs), metrics, ("plain", "avit"))
    assert rows[1][-4:] == ["1 image", "32 images", "1", "32"]


def test_the_table_without_times_or_adaptive_experiments():
    metrics = made.metrics(made.Model(), "avit", 1)
    html, rows = page(made.study({"plain": None}, ["avit"], 1, latency=False), metrics)
    assert "nan" not in html
    assert all(row[-1] == style.DASH for row in rows[2:])
    _, rows = page(made.study(PLAIN, [], 2), metrics.iloc[:0])
    assert [row[0] for row in rows[2:]] == ["plain", "first_four"]


def test_a_machine_is_named_only_where_it_timed_something():
    points, summary, costs = made.study({"plain": None}, ["avit"], 1)
    html, _ = page(
        (points, summary, costs.assign(threads=np.nan)), made.metrics(made.Model(), "avit", 1)
    )
    assert "Timed on cpu. " in html
