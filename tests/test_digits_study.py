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
    assert accuracy["count"].eq(3).all()
    assert accuracy["mean"].max() >= 0.90
    assert accuracy["mean"].max() - accuracy["mean"]["frozen"] >= 0.10


def test_no_source_digit_is_in_two_splits(results):
    index = pd.read_csv(results.parents[1] / "data/digits/store/index.csv")
    assert index.groupby("group")["split"].nunique().max() == 1
    report = json.loads((results / "splits" / "report.json").read_text())
    assert report["errors"] == []
