"""A study of networks from scratch, from nothing to the report, without a base."""

import shutil

import pandas as pd
import pytest

from frugalvit.files import read_json
from frugalvit.models.networks.network_shape import network_gflops
from tests.workflows import ROOT, STUDY, TINY, copy_workflow, edit, planned, run

pytestmark = pytest.mark.workflow
NAMES = ["vit_source", "vit_ours", "stem", "cnn"]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = copy_workflow(tmp_path_factory.mktemp("scratch"))
    shutil.copy(ROOT / "tests" / "studies" / "scratch.yaml", folder / STUDY)
    run(folder, *TINY, "--resources", "gpu=0")
    run(folder, *TINY, "--report", "report.html")
    return folder


def test_every_network_is_evaluated_and_measured(done):
    results = done / "results" / "scratch"
    summary = pd.read_csv(results / "summary.csv")
    assert summary["experiment"].unique().tolist() == NAMES
    known = summary[["accuracy", "gflops", "latency_ms", "images_per_s", "params_m"]].notna()
    assert known.all(axis=None)
    for name, rows in summary.groupby("experiment"):
        card = read_json(results / "runs" / f"{name}-s0" / "card.json")
        assert (rows["gflops"] == network_gflops(card["architecture"])).all()
        assert (rows["params_m"] * 1e6 == card["parameters"]).all()
    metrics = pd.read_csv(results / "metrics.csv").set_index("run")["mse"]
    assert metrics.notna().groupby(level=0).all().to_dict() == {
        "cnn-s0": True, "stem-s0": False, "vit_ours-s0": False, "vit_source-s0": True,
    }  # fmt: skip
    assert not (results / "base" / "weights.safetensors").exists()


def test_the_curves_say_what_was_minimised(done):
    figures = done / "results" / "scratch" / "figures"
    for name, words in (("vit_source", "mean squared error"), ("vit_ours", "cross-entropy")):
        assert words in (figures / f"learning_curves-{name}.svg").read_text()
        assert (figures / f"examples-{name}.svg").is_file()
    assert "6 x 6 patches" in (figures / "patches-vit_ours.svg").read_text()
    assert "no patches" in (figures / "patches-cnn.svg").read_text()
    table = pd.read_csv(done / "results" / "scratch" / "runs" / "cnn-s0" / "examples.csv")
    assert table["kind"].tolist() == ["best"] * 8 + ["worst"] * 8
    assert table["loss"].iloc[:8].is_monotonic_increasing
    assert table["loss"].iloc[8:].is_monotonic_decreasing


def test_pages_tell_published_numbers_beside_ours(done):
    results = done / "results" / "scratch"
    for page in ("networks.html", "probes.html"):
        text = (results / page).read_text()
        assert "a paper&#x27;s ViT" in text
        assert all(f"<td>{name}</td>" in text for name in NAMES)
    probes = pd.read_csv(results / "runs" / "cnn-s0" / "probes.csv")
    assert set(probes["probe"]) == {"svc", "logistic", "knn", "svc_same_images"}
    assert probes["accuracy"].between(0, 1).all()


def test_the_report_shows_each_experiment(done):
    report = (done / "report.html").read_text()
    for name in NAMES:
        assert name in report


def test_another_network_retrains_its_own_experiment_alone(done, tmp_path):
    folder = shutil.copytree(done, tmp_path / "copy", symlinks=True)

    def wider(study):
        study["experiments"]["cnn"]["network"]["embedding"] = 16

    edit(folder, wider)
    jobs = planned(folder, *TINY, "--resources", "gpu=0")
    assert jobs["train_run"] == 1
    assert "prepare_dataset" not in jobs
    assert "check_experiments" in jobs
