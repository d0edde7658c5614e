"""What the embedded study must show, in full; minutes long."""

import json

import pandas as pd
import pytest

from tests.workflows import copy_workflow, run

pytestmark = [pytest.mark.slow, pytest.mark.workflow]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = copy_workflow(tmp_path_factory.mktemp("digits"))
    run(folder, "--cores", "2", "--resources", "gpu=0")
    return folder / "results" / "digits"


def test_the_best_schedule_reaches_ninety_percent_and_beats_frozen(results):
    summary = pd.read_csv(results / "summary.csv")
    test = summary[(summary["split"] == "test") & (summary["n"] == 1500)]
    accuracy = test.groupby("experiment")["accuracy"].agg(["mean", "count"])
    assert accuracy["count"].loc[["frozen", "unfreeze_last", "early_exit", "avit"]].eq(3).all()
    points = pd.read_csv(results / "operating_points.csv", dtype={"exit_histogram": str})
    own = points[(points["experiment"] == "early_exit") & (points["split"] == "test")]
    assert own.groupby(["setting", "value"])["run"].nunique().loc[[("risk", 0.05)]].eq(3).all()
    assert (own["setting"] == "full").sum() == 3
    assert accuracy["mean"].max() >= 0.90
    assert accuracy["mean"].max() - accuracy["mean"]["frozen"] >= 0.10


def test_no_source_digit_is_in_two_splits(results):
    index = pd.read_csv(results.parents[1] / "data/digits/store/index.csv")
    assert index.groupby("group")["split"].nunique().max() == 1
    report = json.loads((results / "splits" / "report.json").read_text())
    assert report["errors"] == []


def test_early_exits_lose_a_point_at_most_for_sixty_percent_of_the_operations(results):
    table = pd.read_csv(results / "operating_points.csv", dtype={"exit_histogram": str})
    test = table[table["split"] == "test"]
    full = test[test["setting"] == "full"].set_index("run")
    used = test[test["chosen"]].set_index("run")
    assert (full["accuracy"] - used["accuracy"]).mean() <= 0.01
    assert (used["gflops"] / full["gflops"]).mean() <= 0.60


def test_exits_of_a_tuned_backbone_beat_the_bases_probes_after_the_first_block(results):
    probes = pd.read_csv(results / "splits" / "probes.csv")
    probe = probes[probes["split"] == "test"].set_index("block")["accuracy"]
    tables = [pd.read_csv(path) for path in sorted(results.glob("runs/early_exit-s*/exits.csv"))]
    exits = pd.concat(tables)
    own = exits[exits["split"] == "test"].groupby("exit")["accuracy"].mean()
    assert len(tables) == 3
    assert (own[2:] > probe[2:] + 0.05).all()


def test_halting_tokens_lose_a_point_at_most_and_halt_in_the_background(results):
    table = pd.read_csv(results / "metrics.csv")
    test = table[table["split"] == "test"].set_index("run")
    avit = test[test.index.str.startswith("avit-")]
    baseline = test.loc[[f"train_longer-s{seed}" for seed in (0, 1, 2)]]
    assert baseline["accuracy"].mean() - avit["accuracy"].mean() <= 0.01
    assert (avit["depth_inside"] > avit["depth_outside"] + 1).all()
    assert (avit["packed_difference"] <= 1e-5).all()
    points = pd.read_csv(results / "operating_points.csv", dtype={"exit_histogram": str})
    packed = points[(points["split"] == "test") & (points["setting"] == "packed")]
    assert (packed["mean_depth"] <= 0.7 * 6).all()
