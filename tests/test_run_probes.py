"""Probes on frozen embeddings: fitted on training images, or named as what they are."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.svm import SVC

from frugalvit.data.store import Store, read_index
from frugalvit.devices.fabric import make_fabric
from frugalvit.evaluation.run_probes import COLUMNS, fit_and_score, probe_run
from frugalvit.evaluation.tested import TestedRun
from frugalvit.figures import probes_table
from frugalvit.figures.style import DASH
from frugalvit.models.base import build_from_base, load_card
from frugalvit.models.heads import embed
from frugalvit.models.networks.build_network import build_network


def made(structure: float, count: int = 200):
    """Features and labels of three splits; `structure` 0 leaves labels to chance."""
    random = np.random.default_rng(0)
    labels = {split: random.integers(4, size=count) for split in ("train", "valid", "test")}
    centres = random.normal(size=(4, 20))
    features = {
        split: (structure * centres[own] + random.normal(size=(count, 20))).astype(np.float32)
        for split, own in labels.items()
    }
    return features, labels


def test_what_can_be_told_apart_is():
    table = fit_and_score(*made(3.0), ["svc", "logistic", "knn"])
    assert table.columns.tolist() == COLUMNS
    assert len(table) == 6
    assert (table["accuracy"] > 0.95).all()
    assert (table["fitted_on"] == "train").all()


def test_images_that_a_probe_was_fitted_on_say_nothing_of_others():
    """Labels drawn by chance are remembered all the same; the defect that the name tells of."""
    features, labels = made(0.0)
    table = fit_and_score(features, labels, ["svc", "svc_same_images"]).set_index(
        ["probe", "split"]
    )
    assert (table.loc["svc", "accuracy"] < 0.4).all()
    assert (table.loc["svc_same_images", "accuracy"] > 0.7).all()
    assert table.loc["svc_same_images", "fitted_on"].tolist() == ["valid", "test"]
    theirs = SVC().fit(features["test"], labels["test"]).score(features["test"], labels["test"])
    assert table.loc[("svc_same_images", "test"), "accuracy"] == theirs


@pytest.mark.parametrize("kind", ["network", "backbone"])
def test_any_run_is_probed_on_what_its_classifier_reads(study, kind):
    torch.manual_seed(0)
    if kind == "backbone":
        model = build_from_base(study / "base", 10)
        classifier = model.heads
    else:
        shape = {
            "kind": "conv_encoder", "image_size": 24, "channels": 1, "num_classes": 10,
            "embedding": 6, "widths": [4],
        }  # fmt: skip
        model = build_network(shape)
        classifier = model.classifier
    model.eval()
    images = torch.randn(2, 3, 24, 24)
    assert torch.allclose(classifier(embed(model, images)), model(images), atol=1e-6)
    run = TestedRun(
        experiment="x",
        store=Store(study / "store"),
        assignments=read_index(study / "assignments.csv"),
        model=model,
        card={"preprocessing": load_card(study / "base")["preprocessing"]},
        fabric=make_fabric(0, 1),
        features=None,
        splits=("valid", "test"),
        batch_size=32,
        mistakes=0,
    )
    table = probe_run(run, ["knn"], most=50)
    assert table["fitted_n"].tolist() == [50, 50]
    assert table["n"].tolist() == [48, 32]
    again = probe_run(run, ["knn"], most=50)
    pd.testing.assert_frame_equal(table, again)


def test_the_table_tells_proper_scores_from_others():
    probes = pd.DataFrame(
        [
            ("a-s0", 0, name, 100, "test", 50, accuracy)
            for name, accuracy in (("svc", 0.5), ("svc_same_images", 0.9))
        ],
        columns=["run", "seed", "probe", "fitted_n", "split", "n", "accuracy"],
    )
    summary = pd.DataFrame(
        [("a", "a-s0", 0, "test", 50, 0.6), ("b", "b-s0", 0, "test", 50, 0.6)],
        columns=["experiment", "run", "seed", "split", "n", "accuracy"],
    )
    published = [{"name": "theirs", "split": "test", "measures": {"svc_same_images": 0.9237}}]
    page = probes_table.draw(
        probes, summary, study="s", experiments=["a", "b"], published=published
    )
    assert "support vectors scored on the images they were fitted on" in page
    assert "<td>a</td><td>1</td><td>60.0" in page
    assert "<td>b</td>" not in page
    assert f"<td>theirs</td>{3 * f'<td>{DASH}</td>'}<td>92.37</td>" in page
