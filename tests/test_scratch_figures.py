"""Figures and tables of networks from scratch say what the tables say."""

import numpy as np
import pandas as pd
import pytest
import torch

from frugalvit.data.thumbnails import encode
from frugalvit.figures.style import DASH
from frugalvit.methods.scratch.figures import examples, network_table, patches
from frugalvit.methods.scratch.objective import SquaredError
from frugalvit.methods.scratch.tables import losses
from frugalvit.training.objective import Classification


def test_patches_are_cut_where_the_network_cuts_them():
    image = np.random.default_rng(0).integers(0, 250, (28, 28, 3), dtype=np.uint8)
    found = patches.cut(image, 4)
    assert found.shape == (4 * 12 + 3 * 2, 4 * 12 + 3 * 2, 3)
    white = (found == 255).all(axis=2)
    assert np.flatnonzero(white.all(axis=0)).tolist() == [12, 13, 26, 27, 40, 41]
    second = found[:12, 14:26]  # the second of the first row shows pixels 7 to 13
    assert set(map(tuple, second.reshape(-1, 3))) <= set(map(tuple, image[:7, 7:14].reshape(-1, 3)))
    whole = patches.cut(image, 1)
    assert np.array_equal(whole, image)


def test_the_network_sees_the_middle():
    image = np.arange(16).reshape(4, 4, 1).repeat(3, axis=2).astype(np.uint8)
    assert patches.centre(image, 0.5)[..., 0].tolist() == [[5, 6], [9, 10]]
    assert np.array_equal(patches.centre(image, 1.0), image)


@pytest.mark.parametrize(("side", "says"), [(4, "4 x 4 patches an image"), (0, "cuts no patches")])
def test_the_figure_of_patches_says_how_many(side, says):
    image = encode(np.zeros((28, 28, 3), np.uint8))
    rows = [(f"train/{n}", n, f"class {n}", image) for n in range(8)]
    samples = pd.DataFrame(rows, columns=["id", "label", "class_name", "image"])
    figure = patches.draw(
        samples, study="s", experiment="vit", width_mm=170, patches=side, seen=1.0
    )
    words = [text.get_text() for text in figure.texts]
    words += [text.get_text() for axes in figure.axes for text in axes.texts]
    assert any(says in word for word in words)
    assert len(figure.axes) >= 2 * patches.SHOWN or not side


def test_the_table_ranks_ours_and_theirs_together():
    summary = pd.DataFrame(
        [
            ("mse", "mse-s0", 0, "test", 10_000, 0.9, 2.1, 0.07, 900.0, 2.18561, 600.0, "cpu"),
            ("mse", "mse-s1", 1, "test", 10_000, 0.91, 2.1, 0.07, 900.0, 2.18561, 600.0, "cpu"),
            ("ours", "ours-s0", 0, "test", 10_000, 0.93, 0.2, 0.07, 900.0, 2.18561, 900.0, "cpu"),
        ],
        columns=network_table.NEEDS["summary"],
    )
    metrics = pd.DataFrame(
        [("mse-s0", "test", 10_000, 0.9, 0.0143), ("mse-s1", "test", 10_000, 0.91, 0.0141),
         ("ours-s0", "test", 10_000, 0.93, np.nan)],
        columns=["run", "split", "n", "accuracy", "mse"],
    )  # fmt: skip
    published = [
        {"name": "theirs", "split": "test", "measures": {"accuracy": 0.9063, "mse": 0.01429}},
        {"name": "of boxes", "split": "test", "measures": {"mean_iou": 0.5}},
    ]
    page = network_table.draw(
        summary, metrics, study="s", experiments=["mse", "ours"], published=published, batch=64
    )
    places = [page.index(f"<td>{name}</td>") for name in ("ours", "theirs", "mse")]
    assert places == sorted(places)
    assert "2,185,610" in page
    assert "0.01420" in page
    assert "<td>90.63</td>" in page
    assert f"<td>0.200</td><td>{DASH}</td>" in page
    assert "of boxes" not in page
    assert "batches of 64" in page


def rows_of_examples(seed):
    image = encode(np.zeros((28, 28, 3), np.uint8))
    return [
        (kind, f"{kind}{n}", "test", f"class {n}", f"class {n + (kind == 'worst')}", n + 0.25, image,
         f"vit-s{seed}", seed)
        for kind in ("best", "worst") for n in range(8)
    ]  # fmt: skip


def test_best_and_worst_images_name_class_answer_and_loss():
    columns = [*examples.NEEDS["examples"], "run", "seed"]
    table = pd.DataFrame([*rows_of_examples(1), *rows_of_examples(0)], columns=columns)
    of = {"study": "s", "experiment": "vit", "device": "cpu", "width_mm": 170}
    figure = examples.draw(table, loss="mean squared error", **of)
    words = [text.get_text() for text in figure.texts]
    assert len(figure.axes) == 16
    assert words.count("class 3") == 2  # once a row
    assert {"as class 3", "as class 8", "loss 0.25", "loss 7.25"} <= set(words)
    assert "seed 0" in " ".join(words)
    assert "mean squared error" in " ".join(words)
    empty = examples.draw(table.iloc[:0], loss="", **of)
    assert "No images were answered." in [text.get_text() for text in empty.texts]


def test_losses_of_images_are_those_of_training():
    logits, labels = torch.tensor([[2.0, 0.0], [0.5, 0.5]]), torch.tensor([0, 1])
    squared = losses(logits, labels, "mse")
    assert squared.tolist() == pytest.approx([0.5, 0.25])
    assert squared.mean() == SquaredError().losses(logits, labels, logits)["loss"]
    crossed = losses(logits, labels, "cross_entropy")
    assert crossed.mean().item() == pytest.approx(
        Classification().losses(logits, labels, logits)["loss"].item()
    )
