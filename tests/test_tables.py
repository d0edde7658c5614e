"""Tables for people say what the tables for programs hold, and nothing of theirs is taken for HTML."""

import pandas as pd

from frugalvit.data.checks import checks_table
from frugalvit.evaluation.shortfalls import collapse, shortfalls
from frugalvit.evaluation.summary import COLUMNS, summarize
from frugalvit.figures import checks_table as checks_page
from frugalvit.figures import results_table
from frugalvit.methods import registry
from frugalvit.operating_point import COLUMNS as POINT_COLUMNS
from tests.workflows import ROOT

METRICS = {"n": 10, "accuracy": 0.5, "macro_f1": 0.4, "loss": 1.0, "ece": 0.1}
CARD = {"method": "fine_tune", "train_seconds": 2.0, "peak_memory_mb": 9.0, "device": "cpu"}
COST = pd.DataFrame(
    {
        "model": "fine_tune", "batch_size": [1, 32], "gflops": 2.0, "latency_ms": [3.0, None],
        "images_per_s": [300.0, 900.0], "params_m": 4.0,
    }
)  # fmt: skip


def summary_of(*rows, warnings=None, measures=()):
    """Rows of `(experiment, point, seed, split -> changes of METRICS)`."""
    runs = []
    for experiment, point, seed, splits in rows:
        name = f"{experiment}-s{seed}" if point is None else f"{experiment}-g{point:02d}-s{seed}"
        run = {"run": name, "experiment": experiment, "seed": seed, "point": point}
        runs.append((run, {split: METRICS | change for split, change in splits.items()}, CARD))
    costs = {run["run"]: COST for run, *_ in runs if run["point"] is None}
    points = pd.DataFrame(columns=POINT_COLUMNS)
    return summarize("study", runs, costs, {"search": 1}, points, 32, warnings or {}, measures)


def test_a_row_a_run_and_split_and_empty_where_there_is_no_meaning():
    table = summary_of(
        ("plain", None, 0, {"valid": {}, "test": {}}),
        ("search", 0, 0, {"valid": {}}),
        ("search", 1, 0, {"valid": {}}),
        ("search", None, 0, {"valid": {}, "test": {}}),
    )
    assert list(table.columns) == COLUMNS
    assert len(table) == 6
    assert table["selected"].tolist() == [None, None, False, True, True, True]
    assert table.loc[0, ["gflops", "latency_ms", "images_per_s"]].tolist() == [2.0, 3.0, 900.0]
    assert table.loc[2, ["gflops", "latency_ms", "images_per_s"]].isna().all()


def test_measures_of_a_method_are_columns_and_empty_where_a_run_has_none():
    table = summary_of(
        ("plain", None, 0, {"test": {}}),
        ("boxes", None, 0, {"test": {"mean_iou": 0.8}}),
        measures=["mean_iou"],
    )
    assert list(table.columns) == [*COLUMNS, "mean_iou"]
    assert table["mean_iou"].isna().tolist() == [True, False]
    assert table["mean_iou"].tolist()[1] == 0.8


def test_targets_of_early_exits_have_rows_of_their_own_and_a_place_on_the_page():
    def point(setting, value, threshold, chosen, **measured):
        row = {"run": "early-s0", "seed": 0, "split": "test", "n": 10, "macro_f1": 0.4}
        row |= {"setting": setting, "value": value, "threshold": threshold, "chosen": chosen}
        row |= {"experiment": "early", "method": "early_exit", "params_m": 5.0}
        return row | {"criterion": None if setting == "full" else "confidence"} | measured

    used = {"accuracy": 0.8, "gflops": 1.0, "latency_ms": 2.0, "images_per_s": 1500.0}
    full = {"accuracy": 0.9, "gflops": 2.0, "latency_ms": 3.5, "images_per_s": 800.0}
    points = pd.DataFrame(
        [
            point("full", None, float("inf"), False, **full | {"params_m": 4.0}),
            point("budget", 0.5, 0.7, True, **used),
            point("drop", 0.01, 0.9, False, **used | {"accuracy": 0.85}),
            point("confidence", 0.5, 0.7, False, **used),
        ]
    )
    cost = pd.concat([COST.assign(model="full"), COST.assign(model="confidence", params_m=5.0)])
    run = {"run": "early-s0", "experiment": "early", "seed": 0, "point": None}
    runs = [(run, {"test": METRICS | {"accuracy": 0.8}}, CARD | {"method": "early_exit"})]
    table = summarize("study", runs, {"early-s0": cost}, {}, points, 32, {})
    assert table["experiment"].tolist() == ["early"], "one row a run and split"
    used = table.iloc[0]
    assert (used["accuracy"], used["gflops"], used["params_m"]) == (0.8, 1.0, 5.0)
    page = results_table.draw(table, ["early"], points)
    assert "early: drop 0.01" in page
    assert "early: full" in page
    assert "confidence" not in page, "a curve's points are no rows"
    rows = {row.split("<td>")[1].split("<")[0]: row for row in page.split("<tr")[2:]}
    assert "class='best'" in rows["early"], "of what is in use; of others no predictions are kept"
    assert "+10.0 (seed 0)" in rows["early: full"] and "best" not in rows["early: full"]
    other = table.assign(experiment="other", run="other-s0")
    assert "early: full" not in results_table.draw(other, ["other"], points)


def test_settings_of_tokens_that_leave_have_rows_of_their_own():
    def point(name, setting, value, chosen, gflops):
        row = {"run": f"{name}-s0", "seed": 0, "split": "test", "n": 10, "macro_f1": 0.4}
        row |= {"setting": setting, "value": value, "threshold": float("nan"), "chosen": chosen}
        row |= {"experiment": name, "method": "any", "params_m": 4.0}
        return row | {"accuracy": 0.8, "gflops": gflops, "latency_ms": 2.0, "images_per_s": 9.0}

    points = pd.DataFrame(
        [
            point("halting", "packed", 0.01, True, 1.5),
            point("halting", "masked", 0.01, False, 2.0),
            point("halting", "eps", 0.25, False, 1.0),
            point("merged", "r", 4, True, 1.2),
            point("merged", "r", 2, False, 1.6),
            point("pruned", "keep", 0.7, True, 1.3),
        ]
    )
    cost = pd.concat([COST.assign(model="full"), COST.assign(model="another")])
    methods = {"halting": "avit", "merged": "token_merging", "pruned": "token_pruning"}
    runs = [
        (
            {"run": f"{name}-s0", "experiment": name, "seed": 0, "point": None},
            {"test": METRICS | {"accuracy": 0.8}},
            CARD | {"method": method},
        )
        for name, method in methods.items()
    ]
    costs = {f"{name}-s0": cost for name in methods}
    table = summarize("study", runs, costs, {}, points, 32, {})
    gflops = dict(zip(table["experiment"], table["gflops"]))
    assert gflops == {"halting": 1.5, "merged": 1.2, "pruned": 1.3}
    page = results_table.draw(table, ["halting"], points)
    assert "halting: eps 0.25" in page
    assert "halting: masked 0.01" in page
    assert "merged" not in page


def test_rows_of_fewer_seeds_are_not_ranked_but_compared_on_the_seeds_of_both():
    page = results_table.draw(
        summary_of(
            ("three", None, 0, {"test": {"accuracy": 0.9}}),
            ("three", None, 1, {"test": {"accuracy": 0.6}}),
            ("three", None, 2, {"test": {"accuracy": 0.6}}),
            ("lucky", None, 0, {"test": {"accuracy": 0.85}}),
        ),
        None,
    )
    rows = page.split("<tr")[2:]
    assert [row.split("<td>")[1].split("<")[0] for row in rows] == ["three", "lucky"]
    assert "class='best'" in rows[0] and "class='fewer'" in rows[1]
    assert "-5.0 (seed 0)" in rows[1], "though its mean is 15 points above"
    assert "have fewer seeds than the others" in page


def test_the_page_marks_the_best_of_each_test_set():
    page = results_table.draw(
        summary_of(
            ("weak", None, 0, {"test": {"accuracy": 0.5}}),
            ("weak", None, 1, {"test": {"accuracy": 0.7}}),
            ("strong", None, 0, {"test": {"accuracy": 0.9}}),
            ("strong", None, 1, {"test": {"accuracy": 0.8}}),
            ("swapped", None, 0, {"test": {"accuracy": 0.99, "n": 3}}),
        ),
        None,
    )
    rows = page.split("<tr")[2:]
    best = [row.split("<td>")[1].split("<")[0] for row in rows if "class='best'" in row]
    assert best == ["swapped", "strong"]
    assert "60.0 ± 14.1" in page


def test_findings_are_counted_and_escaped():
    report = {
        "checks": {
            "imbalance": {"policy": "warn", "passed": True, "found": [], "what": ""},
            "duplicates_across": {
                "policy": "error", "passed": False, "found": [1, 2], "what": "<b>.jpg = c.jpg",
            },
        }
    }  # fmt: skip
    table = checks_table(report, [{"file": "x.jpg", "error": "truncated"}])
    assert table["found"].tolist() == [1, 0, 2]
    page = checks_page.draw(table, "study", "splits")
    assert "x.jpg: truncated" in page
    assert "&lt;b&gt;.jpg = c.jpg" in page
    assert page.count("class=found") == 2


def predicted(right: list[int]) -> pd.DataFrame:
    """Predictions of test images that are right where a list says 1."""
    ids = [f"test-{place}" for place in range(len(right))]
    return pd.DataFrame({"id": ids, "split": "test", "label": 1, "predicted": right})


def test_a_collapse_is_a_large_loss_that_chance_does_not_explain():
    source = predicted([1] * 81 + [0] * 19)
    told = collapse(predicted([1] * 25 + [0] * 75), source, "tuned-s0")
    assert told == (
        "accuracy collapsed: 25.0 % of the test images, where tuned-s0 has 81.0 % (56 lost, 0 won)"
    )
    assert collapse(source, predicted([1] * 25 + [0] * 75), "tuned-s0") == ""
    assert collapse(predicted([1] * 71 + [0] * 29), source, "tuned-s0") == "", "ten points"
    # Of ten images four are 40 points, and may be chance: the sign test of five to one.
    few = predicted([1] * 8 + [0] * 2)
    assert collapse(predicted([0] * 5 + [1] * 4 + [0]), few, "tuned-s0") == ""
    assert collapse(predicted([0] * 10), few, "tuned-s0") != ""
    other = predicted([0] * 100).assign(id=[f"other-{place}" for place in range(100)])
    assert collapse(other, source, "tuned-s0") == "", "other images"


def test_what_falls_short_stands_in_the_summary_and_above_the_table():
    runs = [{"run": "plain-s0", "compared": None}, {"run": "thin-s0", "compared": "plain-s0"}]
    answers = {"plain-s0": predicted([1] * 10), "thin-s0": predicted([0] * 10)}
    said = shortfalls(runs, answers, {"thin-s0": ["missed <the> target"], "plain-s0": []})
    assert list(said) == ["thin-s0"]
    assert said["thin-s0"].startswith("accuracy collapsed: 0.0 %")
    assert said["thin-s0"].endswith("; missed <the> target")
    table = summary_of(
        ("plain", None, 0, {"valid": {}, "test": {}}), ("thin", None, 0, {"valid": {}, "test": {}}),
        warnings=said,
    )  # fmt: skip
    assert table["warning"].fillna("").tolist() == ["", "", "", said["thin-s0"]]
    page = results_table.draw(table, None)
    assert page.split(results_table.FALLS_SHORT)[1].startswith("<br>&bull; thin-s0: accuracy coll")
    assert "missed &lt;the&gt; target" in page
    assert "<td>thin &#9888;</td>" in page
    assert "<td>plain</td>" in page
    assert results_table.FALLS_SHORT in (ROOT / "workflow" / "report" / "workflow.rst").read_text()
    quiet = results_table.draw(table.assign(warning=None), None)
    assert results_table.FALLS_SHORT not in quiet
    assert results_table.FALLS_SHORT not in results_table.draw(table.drop(columns="warning"), None)


def points_with(**columns) -> pd.DataFrame:
    return pd.DataFrame(columns).reindex(columns=POINT_COLUMNS)


def test_a_target_of_halting_is_missed_by_more_than_five_percent():
    def points(gflops):
        return points_with(
            setting=["packed", "packed", "eps"], split=["valid", "test", "valid"],
            gflops=[gflops, 9.0, 1.0], chosen=[True, True, False],
        )  # fmt: skip

    missed = registry.method("avit").missed
    assert missed({"target_gflops": 2.0}, points(2.1)) == []
    assert missed({"target_gflops": None}, points(9.0)) == []
    [told] = missed({"target_gflops": 2.0}, points(2.2))
    assert told.startswith("missed halting.target_gflops: 2.2 GFLOPs")
    assert "(+10%)" in told


def test_targets_of_exits_that_took_the_full_model_are_missed():
    points = points_with(
        setting=["full", "budget", "drop", "confidence"], split="test", value=[None, 0.5, 0.01, 0.4],
        criterion="confidence", threshold=[float("inf"), 0.7, float("inf"), 0.3],
        note=["", "", "every threshold loses more: the full model is used", ""],
    )  # fmt: skip
    [told] = registry.method("early_exit").missed({}, points)
    assert told.startswith("target drop 0.01 not reached: every threshold loses more")
