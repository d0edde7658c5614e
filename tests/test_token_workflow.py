"""Adaptive tokens through the workflow: their rows and files, and what a changed setting runs anew."""

import json

import pandas as pd
import pytest

from tests.workflows import TINY, edit, planned, results_of

pytestmark = pytest.mark.workflow


def test_tokens_that_leave_have_their_rows_in_the_tables(finished):
    results = results_of(finished)
    points = pd.read_csv(results / "operating_points.csv", dtype={"exit_histogram": str})
    points = points[points["method"] != "early_exit"]
    settings = points[["run", "setting", "value"]].drop_duplicates()
    assert settings.groupby("run").size().to_dict() == {
        "halting-s0": 3, "halting-s1": 3, "merged-s0": 2, "merged-s1": 2, "pruned-s0": 1,
    }  # fmt: skip
    assert set(points["split"]) == {"valid", "test"}
    assert points[["latency_ms", "latency_p95_ms", "images_per_s"]].notna().all().all()
    assert points["n"].eq(60).all()
    used = points[points["chosen"].astype(bool)]
    assert set(zip(used["setting"], used["value"])) == {("packed", 0.01), ("r", 2), ("keep", 0.6)}

    summary = pd.read_csv(results / "summary.csv")
    assert not summary.duplicated(["run", "split"]).any()
    tested = summary[summary["split"] == "test"].set_index("run")
    of_test = points[points["split"] == "test"].set_index(["run", "setting", "value"])
    full = tested["gflops"]["frozen-s0"]
    for name in ("halting-s0", "halting-s1"):
        packed, masked = tested.loc[name], of_test.loc[(name, "masked", 0.01)]
        assert of_test["gflops"][name, "eps", 0.3] < packed["gflops"] < full
        assert packed["gflops"] == of_test["gflops"][name, "packed", 0.01]
        assert masked["gflops"] == pytest.approx(full)
        assert masked["accuracy"] == packed["accuracy"]
        assert packed["params_m"] == pytest.approx(tested["params_m"]["frozen-s0"])
    assert tested["gflops"]["merged-s0"] < of_test["gflops"]["merged-s0", "r", 1] < full
    page = (results / "summary.html").read_text()
    assert all(f"<td>{name}</td>" in page for name in ("halting: eps 0.3", "merged: r 1"))
    assert tested["gflops"]["pruned-s0"] < full


def test_halting_is_what_its_files_say(finished):
    runs = results_of(finished) / "runs"
    points = pd.read_csv(results_of(finished) / "operating_points.csv")
    for name in ("halting-s0", "halting-s1"):
        mine = points[(points["run"] == name) & (points["split"] == "test")].set_index("setting")
        predictions = pd.read_csv(runs / name / "predictions.csv")
        test = predictions[predictions["split"] == "test"]
        packed = mine.loc["packed"]
        assert packed["accuracy"] == pytest.approx((test["label"] == test["predicted"]).mean())
        assert packed["mean_depth"] == pytest.approx(test["depth"].mean(), abs=1e-3)
        assert (test["tokens"] * 3).tolist() == pytest.approx(test["depth"].tolist(), abs=1e-3)
        halting = pd.read_csv(runs / name / "halting.csv")
        sums = halting.groupby("split")[["halting", "tokens", "target"]].sum()
        assert sums.to_numpy() == pytest.approx(1)
        assert len(pd.read_csv(runs / name / "depth_images.csv")) == 6
        metrics = json.loads((runs / name / "metrics.json").read_text())["test"]
        assert metrics["packed_difference"] < 1e-5
        assert metrics["boxed"] == 60
        assert metrics["batch_size"] == 128
        cost = pd.read_csv(runs / name / "cost.csv")
        assert set(cost["model"]) == {"full", "packed 0.01", "masked 0.01", "eps 0.3"}
        assert set(cost["batch_size"]) == {1, 32, 128}


def test_what_trains_nothing_is_its_sources_run(finished):
    runs = results_of(finished) / "runs"
    for name in ("weights.safetensors", "history.csv"):
        assert (runs / "merged-s1" / name).read_bytes() == (runs / "frozen-s1" / name).read_bytes()
    card = json.loads((runs / "merged-s1" / "card.json").read_text())
    source = json.loads((runs / "frozen-s1" / "card.json").read_text())
    assert (card["run"], card["method"], card["source"]) == (
        "merged-s1",
        "token_merging",
        "frozen-s1",
    )
    assert card["train_seconds"] == source["train_seconds"]


def test_other_eps_and_r_evaluate_anew_and_train_nothing(copied):
    def change(study):
        study["experiments"]["halting"]["halting"]["inference_eps"] = [0.1, 0.5]
        study["experiments"]["merged"]["r"] = [1]

    edit(copied, change)
    plan = planned(copied, *TINY)
    assert {rule for rule in plan if rule.startswith("evaluate_")} == {
        "evaluate_avit_s0", "evaluate_avit_s1", "evaluate_token_merging_s0",
        "evaluate_token_merging_s1",
    }  # fmt: skip
    assert plan["measure_cost"] == 1, "all in one sitting"
    assert not {"train_run", "adopt_run"} & set(plan)


def test_a_run_is_taken_anew_with_its_source(copied):
    edit(copied, lambda study: study["experiments"]["frozen"].update(lr=0.001))
    plan = planned(copied, *TINY)
    assert plan["adopt_run"] == 3
    assert plan["train_run"] == 6, "frozen, and early exits and halting, which start from it"


def test_a_study_of_halting_alone_can_be_planned(copied):
    def halting_alone(study):
        halting = study["experiments"]["halting"] | {"from": "base"}
        del halting["distillation"]
        study["experiments"] = {"halting": halting}

    edit(copied, halting_alone)
    plan = planned(copied, *TINY)
    assert plan["train_run"] == 2
    assert plan["evaluate_avit_s0"] == plan["evaluate_avit_s1"] == 1
    assert plan["plot_avit"] == plan["plot_comparison"] == 1
    assert not {"evaluate_fine_tune", "evaluate_early_exit", "probe_blocks"} & set(plan)
