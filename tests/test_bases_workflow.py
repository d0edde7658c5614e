"""A study of two ViTs at two sizes and a network of timm's, from nothing to its tables."""

import shutil

import pandas as pd
import pytest
import yaml

from frugalvit.files import read_json
from frugalvit.models.flops import vit_flops
from tests.workflows import ROOT, STUDY, TINY, copy_workflow, edit, planned, run

pytestmark = pytest.mark.workflow
BASES = {
    "head_image_size_24-s0": ("base", "small", 24),
    "head_image_size_16-s0": ("base-16px", "small", 16),
    "tiny_all-s0": ("base-tiny-16px", "tiny", 16),
    "cnn_all-s0": ("base-cnn", "cnn", 24),
    "tiny_merged-s0": ("base-tiny-16px", "tiny", 16),
}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = copy_workflow(tmp_path_factory.mktemp("bases"))
    shutil.copy(ROOT / "tests" / "studies" / "bases.yaml", folder / STUDY)
    run(folder, *TINY, "--resources", "gpu=0")
    return folder


def test_each_experiment_starts_from_its_base_at_its_size(done):
    results = done / "results" / "bases"
    study = yaml.safe_load((done / STUDY).read_text())
    for name, (folder, base, size) in BASES.items():
        card, of_base = (read_json(results / at / "card.json") for at in (f"runs/{name}", folder))
        assert card["sha256"]["base" if "merged" not in name else "index"], name
        assert card["architecture"]["image_size"] == of_base["architecture"]["image_size"] == size
        if base == "cnn":
            assert card["architecture"]["timm"] == study["bases"]["cnn"]["architecture"]
            continue
        shape = study["bases"][base]["architecture"]
        assert card["architecture"]["hidden_dim"] == shape["hidden_dim"]
        stored = {} if size == 24 else {"stored": 16}
        normalised = {key: study["bases"][base][key] for key in ("mean", "std")}
        assert card["preprocessing"] == {"image_size": size, **normalised, **stored}
    assert not (results / "base-tiny").exists(), "no experiment starts from it at its own size"


def test_cost_is_that_of_each_base_at_its_size(done):
    results = done / "results" / "bases"
    summary = pd.read_csv(results / "summary.csv")
    assert summary[["gflops", "latency_ms", "images_per_s", "params_m"]].notna().all(axis=None)
    told = summary.drop_duplicates("run").set_index("run")
    for name, (_, base, size) in BASES.items():
        assert (told.at[name, "base"], told.at[name, "image_size"]) == (base, size)
        if name != "tiny_merged-s0":
            shape = read_json(results / "runs" / name / "card.json")["architecture"]
            head = 2 * shape["hidden_dim"] * 10 / 1e9
            counted = shape["gflops"] + head if base == "cnn" else vit_flops(shape, 10)
            assert told.at[name, "gflops"] == pytest.approx(counted)
    beside = pd.read_csv(results / "runs" / "tiny_merged-s0" / "cost.csv").set_index("model")
    full = beside.loc["full"].drop_duplicates("batch_size")
    assert full["gflops"].iloc[0] == pytest.approx(told.at["tiny_all-s0", "gflops"])
    plain = pd.read_csv(results / "runs" / "tiny_all-s0" / "cost.csv")
    assert plain["call_ms"].tolist() == full["call_ms"].tolist(), "measured once"


def test_the_comparison_is_against_the_first_base_at_its_own_size(done):
    words = (done / "results" / "bases" / "figures" / "pareto.svg").read_text()
    assert "16 px" in words and "tiny, 16 px" in words
    tables = done / "results" / "bases"
    summary = pd.read_csv(tables / "summary.csv").drop_duplicates("experiment")
    gflops = summary.set_index("experiment")["gflops"]
    share = 100 * gflops / gflops["head_image_size_24"]
    for name in ("head_image_size_16", "tiny_all", "tiny_merged"):
        assert f"{share[name]:.1f}" in words


def test_a_changed_base_reruns_what_starts_from_it(done, tmp_path):
    folder = shutil.copytree(done, tmp_path / "copy", symlinks=True)

    def brighter(study):
        study["bases"]["tiny"]["mean"] = [0.4, 0.4, 0.4]

    edit(folder, brighter)
    jobs = planned(folder, *TINY, "--resources", "gpu=0")
    assert (jobs["export_base"], jobs["train_run"], jobs["adopt_run"]) == (1, 1, 1)
    assert jobs["extract_features"] == 1
    assert "prepare_dataset" not in jobs
