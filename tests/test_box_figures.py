"""Figures of boxes say what the tables say: shares, means, intervals, and when there is no box."""

import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from frugalvit.chance import interval_text
from frugalvit.data.thumbnails import encode
from frugalvit.figures.style import DASH
from frugalvit.methods.localize.figures import box_curves, box_images, box_iou, box_table

OF = {"study": "letters", "experiment": "boxes", "device": "cpu", "width_mm": 170}
OVERLAPS = {"test": [0.95, 0.8, 0.6, 0.3], "valid": [0.92, 0.91]}


def predictions(seeds=(0, 1)):
    rows = [
        {"id": f"{split}{number}", "split": split, "label": number % 2, "predicted": 0, "iou": overlap,
         "run": f"boxes-s{seed}", "seed": seed}
        for seed in seeds for split, overlaps in OVERLAPS.items()
        for number, overlap in enumerate(overlaps)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def texts(figure: Figure) -> list[str]:
    """All words on a figure."""
    found = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        found += [text.get_text() for text in axes.texts]
    return found


def opened(figure: Figure) -> np.ndarray:
    """The figure's pixels."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=60)
    return np.asarray(Image.open(file).convert("RGB"))


def test_shares_of_boxes_are_counted_image_by_image():
    told = box_iou.shares(predictions((0,))).set_index("split").loc["test"]
    assert told["mean_iou"] == pytest.approx(np.mean(OVERLAPS["test"]))
    assert told[["iou_50", "iou_75", "iou_90"]].tolist() == [0.75, 0.5, 0.25]
    assert told["joint"] == 0.5  # of the three found, the second has the wrong class
    curve = box_iou.at_least(np.array(OVERLAPS["test"]), np.array([0.3, 0.31, 0.95, 0.96]))
    assert curve.tolist() == [1, 0.75, 0.25, 0]


def test_the_overlap_names_both_splits_seeds_and_their_mean():
    figure = box_iou.draw(predictions(), **OF)
    said = texts(figure)
    assert "letters · 2 seeds (0, 1) · 4 test images · 2 validation images · device: cpu" in said
    assert {"test, %", "validation, %", "seed 0", "seed 1", "mean", "95 %"} <= set(said)
    low, high = interval_text(0.75, 4).split(" to ")
    assert f"{low}{DASH}{high}" in said
    assert opened(figure).std() > 0


def test_without_a_box_there_is_a_sentence():
    none = predictions().assign(iou=np.nan)
    assert any(
        "no image of these splits has one" in text for text in texts(box_iou.draw(none, **OF))
    )
    empty = pd.DataFrame(columns=[*box_images.COLUMNS, "run", "seed"])
    said = texts(box_images.draw(empty, none, **OF))
    assert any("no image of these splits has one" in text for text in said)


def test_curves_end_where_the_history_does():
    epochs = pd.DataFrame(
        [
            {"epoch": epoch, "phase": 1 + (epoch > 2), "train": "head" if epoch < 3 else "all",
             "valid_accuracy": 0.2 * epoch + 0.02 * seed, "valid_class_loss": 2 / epoch,
             "valid_box_loss": 0.3 / epoch, "valid_mean_iou": 0.15 * epoch, "valid_iou_50": 0.2 * epoch,
             "valid_iou_75": 0.1 * epoch, "valid_iou_90": 0.05 * epoch,
             "run": f"b-s{seed}", "seed": seed}
            for seed in (0, 1) for epoch in (1, 2, 3, 4)
        ]
    )  # fmt: skip
    splits = pd.DataFrame(
        {"id": ["a", "b"], "split": ["train", "valid"], "label": 0, "class_name": "A"}
    )
    figure = box_curves.draw(epochs, splits, **OF)
    said = set(texts(figure))
    assert {
        "class right",
        "mean IoU",
        "IoU ≥ .50",
        "IoU ≥ .75",
        "IoU ≥ .90",
        "head only",
    } <= set(said)
    thick = {round(line.get_ydata()[-1], 4) for axes in figure.axes for line in axes.lines
             if line.get_linewidth() == 1.5}  # fmt: skip
    assert {81.0, 60.0, 80.0, 40.0, 20.0, 0.5, 0.075} == thick


def epochs_validated(every: int, boxes: bool = True) -> pd.DataFrame:
    """A history of which every so many epochs are validated, and the last one."""
    table = pd.DataFrame(
        [
            {"epoch": epoch, "phase": 1, "train": "all", "valid_accuracy": 0.1 * epoch,
             "valid_class_loss": 2 / epoch, "valid_box_loss": 0.3 / epoch,
             **{f"valid_{name}": 0.1 * epoch if boxes else np.nan
                for name in ("mean_iou", "iou_50", "iou_75", "iou_90")},
             "run": f"b-s{seed}", "seed": seed}
            for seed in (0, 1) for epoch in range(1, 6)
        ]
    )  # fmt: skip
    known = (table["epoch"] % every == 0) | (table["epoch"] == 5)
    valid = [column for column in table if column.startswith("valid_")]
    table.loc[~known, valid] = np.nan
    return table


SPLITS = pd.DataFrame(
    {"id": ["a", "b"], "split": ["train", "valid"], "label": 0, "class_name": "A"}
)


def test_curves_go_on_over_epochs_that_were_not_validated():
    figure = box_curves.draw(epochs_validated(2), SPLITS, **OF)
    lines = [line for axes in figure.axes for line in axes.lines if line.get_linewidth() == 1.5]
    assert len(lines) == 7
    for line in lines:
        assert line.get_xdata().tolist() == [2, 4, 5]
        assert np.isfinite(line.get_ydata()).all()
    assert opened(figure).std() > 0


def test_curves_of_runs_without_a_box_are_a_sentence():
    said = texts(box_curves.draw(epochs_validated(2, boxes=False), SPLITS, **OF))
    assert "No boxes to look at: no validation image has one." in " ".join(said)


def test_pictures_show_both_boxes_and_mark_a_wrong_class():
    image = encode(np.full((24, 24, 3), 90, np.uint8), largest=24)
    edges = {"x0": 0.1, "y0": 0.2, "x1": 0.6, "y1": 0.7}
    rows = [
        {"kind": kind, "id": "a", "split": "test", "iou": 0.5, **edges, "class_name": "A",
         "predicted_name": name, **{f"true_{edge}": value for edge, value in edges.items()},
         "image": image, "run": "boxes-s0", "seed": 0}
        for kind, name in (("best", "A"), ("worst", "B"))
    ]  # fmt: skip
    figure = box_images.draw(pd.DataFrame(rows), predictions(), **OF)
    said = texts(figure)
    assert {"best boxes", "worst boxes", "A", "A ✗ B", "IoU 0.50"} <= set(said)
    assert "drawn at random" not in said
    assert [len(axes.patches) for axes in figure.axes] == [4, 4]
    # x0 lies at the left of the picture, y0 measured from its top.
    corner = figure.axes[0].patches[-1].get_xy()
    assert corner == (0.1, 0.2)
    assert figure.axes[0].get_ylim() == (1, 0)


def test_the_table_has_what_others_published_and_marks_the_most():
    metrics = pd.DataFrame(
        {"run": ["boxes-s0", "boxes-s1", "plain-s0"], "split": "valid", "n": 144,
         "accuracy": [0.9, 0.92, 0.95], "iou_50": [1.0, 1.0, np.nan]}
    )  # fmt: skip
    summary = pd.DataFrame(
        {"experiment": ["boxes", "boxes", "plain"], "run": metrics["run"], "seed": [0, 1, 0],
         "split": "valid", "device": "cpu"}
    )  # fmt: skip
    theirs = [
        {"name": "a <paper>", "split": "valid", "n": 144, "measures": {"accuracy": 0.9097}},
        {"name": "on others", "split": "test", "measures": {"accuracy": 0.99}},
    ]
    how = {"study": "letters", "experiments": ["boxes", "plain"], "published": theirs}
    page = box_table.draw(metrics, summary, **how)
    rows = [row.split("</tr>")[0] for row in page.split("<tr")[2:]]
    boxes, plain, published = rows
    assert "91.0 ± 1.4<small>" in boxes
    assert f"<td class='most'>100.0 ± 0.0<small>{interval_text(1, 144)}</small>" in boxes
    assert "<td class='most'>95.0<small>" in plain
    assert f"<td>{DASH}</td>" in plain  # it has no boxes
    assert "a &lt;paper&gt;" in published
    assert "<td>90.97<small>" in published
    assert "on others" not in page  # nothing here is of test images


def test_intervals_of_boxes_count_images_that_have_one():
    shares = {"accuracy": 0.9, "mean_iou": 0.8, "iou_50": 0.95, "joint": 0.85}
    metrics = pd.DataFrame(
        {"run": ["boxes-s0"], "split": "valid", "n": 144, "boxed": 100, **shares}
    )
    summary = pd.DataFrame({"experiment": ["boxes"], "run": ["boxes-s0"], "seed": [0],
                            "split": "valid", "device": "cpu"})  # fmt: skip
    page = box_table.draw(metrics, summary, study="s", experiments=["boxes"], published=[])
    for share, n in ((0.9, 144), (0.95, 100), (0.85, 100)):
        assert f">{share * 100:.1f}<small>{interval_text(share, n)}</small>" in page
    assert ">80.0</td>" in page  # a mean of overlaps is no share of images
