"""Adaptive tokens evaluated: depths in boxes and pictures, operating points, averages."""

import numpy as np
import pandas as pd
import pytest
import torch

from frugalvit.data.batches import ImageSet
from frugalvit.data.boxes import boxes_in_view
from frugalvit.data.store import COLUMNS as INDEX_COLUMNS
from frugalvit.data.store import Store, read_index
from frugalvit.data.thumbnails import decode
from frugalvit.devices.fabric import make_fabric
from frugalvit.errors import ConfigError
from frugalvit.evaluation import tested
from frugalvit.evaluation.metrics import batch_averages, classification_metrics, predictions
from frugalvit.jobs import progress
from frugalvit.methods.avit.model import target_distribution
from frugalvit.methods.avit.reachable import check_indices
from frugalvit.methods.avit.tables import (
    Halting,
    chosen_images,
    depth_by_box,
    halting_table,
)
from frugalvit.methods.tokens.answers import Answers
from frugalvit.methods.tokens.leaving import answer, evaluate_points, point_row
from frugalvit.models.flops import vit_flops
from frugalvit.operating_point import EVALUATED
from tests.small_study import ARCHITECTURE
from tests.token_models import BLOCKS, CLASSES, HOW, models_of

PREPROCESSING = {"image_size": 24, "mean": [0.2] * 3, "std": [0.25] * 3}


@pytest.fixture(scope="module")
def images(study) -> ImageSet:
    store = Store(study / "store")
    return ImageSet(store, store.ids("test"), PREPROCESSING)


@pytest.fixture(scope="module")
def answers(images):
    """Point's name -> its answers, of a model with halting tokens."""
    fabric = make_fabric(0, 1)
    return {
        point.name: answer(fabric, model, images, 7) for point, model in models_of("avit").items()
    }


@pytest.fixture(scope="module")
def halting(images, answers) -> Halting:
    packed, masked = answers["packed 0.01"], answers["masked 0.01"]
    table = predictions(images.ids, "test", packed.logits, images.labels)
    return Halting(table, images, packed, masked)


def make_store(folder, boxes, side):
    """A store of test images alone, pixel values counting up, with these texts as boxes."""
    folder.mkdir()
    rows = [
        {"id": f"i{row}", "file": "", "split": "test", "label": 0, "class_name": "thing",
         "box": box, "sha256": "", "group": ""}
        for row, box in enumerate(boxes)
    ]  # fmt: skip
    pd.DataFrame(rows, columns=INDEX_COLUMNS).to_csv(folder / "index.csv", index=False)
    pixels = np.arange(len(boxes) * side * side * 3) % 251
    for split in ("train", "valid", "test"):
        count = len(boxes) if split == "test" else 0
        shaped = pixels[: count * side * side * 3].reshape(count, side, side, 3)
        np.save(folder / f"{split}.npy", shaped.astype(np.uint8))
    return Store(folder)


def test_depth_inside_and_outside_boxes_by_hand():
    nowhere = [np.nan] * 4
    # The class token first, then two rows of two patches with centres at 1/4 and 3/4.
    depths = torch.tensor([[9, 3, 1, 1, 2], [9, 1, 6, 2, 1], [9, 5, 5, 5, 5], [9, 7, 7, 7, 1]])
    boxes = np.array(
        [
            [0.0, 0.0, 0.5, 0.5],  # the first patch: 3 against 4/3
            [0.5, 0.0, 1.0, 1.0],  # the right column, second and fourth: 3.5 against 1.5
            nowhere,
            [0.0, 0.0, 1.0, 1.0],  # nothing is outside: left out
        ]
    )
    assert depth_by_box(depths, boxes) == pytest.approx(
        {"depth_inside": (3 + 3.5) / 2, "depth_outside": (4 / 3 + 1.5) / 2, "boxed": 2}
    )
    # A box between the centres holds no patch.
    between = np.array([[0.3, 0.3, 0.7, 0.7]])
    for empty in (between, np.array([nowhere])):
        assert depth_by_box(depths[:1], empty) == {
            "depth_inside": None, "depth_outside": None, "boxed": 0,
        }  # fmt: skip


def test_a_box_is_as_the_model_sees_it(tmp_path):
    boxes = ["0.25 0.25 0.75 0.75", "0 0.5 0.5 1", "", "0 0 0.2 0.2"]
    store = make_store(tmp_path / "store", boxes, side=32)
    ids = ["i1", "i0", "i2", "i3"]  # in the order asked for
    expected = [[0, 0.5, 0.5, 1], [0, 0, 1, 1], [np.nan] * 4, [np.nan] * 4]
    np.testing.assert_allclose(boxes_in_view(store, ids, 16), expected)
    whole = [[0, 0.5, 0.5, 1], [0.25, 0.25, 0.75, 0.75], [np.nan] * 4, [0, 0, 0.2, 0.2]]
    np.testing.assert_allclose(boxes_in_view(store, ids, 32), whole)
    # What lies outside the crop is nowhere, and counts for nothing.
    depths = torch.tensor([[1, 1, 1, 1, 1]])
    assert depth_by_box(depths, boxes_in_view(store, ["i3"], 16))["boxed"] == 0


def test_images_are_those_asked_for_or_six_by_difficulty():
    generator = torch.Generator().manual_seed(0)
    depths = torch.randperm(101, generator=generator)[:, None].repeat(1, 4)
    assert chosen_images(depths, [7, 3, 0]) == [7, 3, 0]
    check_indices([7, 100], 101)
    check_indices(None, 1)
    with pytest.raises(ConfigError, match=r"depth_images\[1\]: 101, but there are 101 test images"):
        check_indices([7, 101], 101)
    six = chosen_images(depths, None)
    assert depths[six, 0].tolist() == pytest.approx([2, 21, 40, 60, 79, 98], abs=1)
    assert depths[chosen_images(depths[:2], None), 0].tolist() == sorted(depths[:2, 0].tolist())


def test_a_table_of_halting_by_hand():
    halting = torch.tensor([[0.5, 0.5, 0.0], [0.1, 0.2, 0.7]])
    depths = torch.tensor([[3, 1, 1, 2], [2, 2, 1, 1]])
    table = halting_table(halting, depths, target_distribution(3, 2.0, 1.0), "test")
    assert table["block"].tolist() == [1, 2, 3]
    assert table["halting"].tolist() == pytest.approx([0.3, 0.35, 0.35])
    assert table["tokens"].tolist() == pytest.approx([4 / 8, 3 / 8, 1 / 8])
    for column in ("halting", "tokens", "target"):
        assert table[column].sum() == pytest.approx(1)
    assert table["n"].eq(2).all()
    assert table["split"].eq("test").all()


def test_a_block_that_no_token_leaves_has_its_row():
    depths = torch.tensor([[1, 1]])
    table = halting_table(torch.tensor([[1.0, 0.0]]), depths, torch.tensor([0.5, 0.5]), "valid")
    assert table["tokens"].tolist() == [1, 0]


def test_depths_stand_beside_the_predictions(halting):
    table = halting.with_depths()
    depths = halting.packed.depths
    assert table["id"].tolist() == halting.images.ids
    assert table["depth"].tolist() == pytest.approx(depths.double().mean(1).tolist(), abs=1e-4)
    assert table["tokens"].tolist() == pytest.approx((table["depth"] / BLOCKS).tolist(), abs=1e-4)
    assert table["tokens"].nunique() > 3
    measures = halting.measures()
    assert measures["packed_difference"] < 1e-5
    assert measures["boxed"] == len(depths)  # every digit has a box
    assert 1 <= measures["depth_inside"] <= BLOCKS
    how = {"alpha_distribution": 0.1, "expected_depth": 2.0, "depth_std": 1.0}
    table = halting.table(how)
    assert table["halting"].sum() == pytest.approx(1)
    assert table["target"].idxmax() == 1
    assert halting.table(how | {"alpha_distribution": 0})["target"].isna().all()


def test_pictures_are_what_the_model_saw(halting):
    places = [4, 0]
    table = halting.pictures(places)
    assert table["index"].tolist() == places
    assert table["position"].tolist() == [0, 1]
    assert table["id"].tolist() == [halting.images.ids[place] for place in places]
    for row, place in zip(table.itertuples(), places):
        pixels = halting.images.raw([place])[0]
        assert np.array_equal(decode(row.image)[::2, ::2], pixels)
        shown = [row.class_depth, *map(int, row.depths.split())]
        assert shown == halting.packed.depths[place].tolist()
        assert (row.side, row.blocks) == (3, BLOCKS)
        x, y, width, height = map(float, row.box.split())
        assert 0 <= x < x + width <= 1.001
        assert 0 <= y < y + height <= 1.001
        assert row.class_name == str(row.label)
    assert len(halting.pictures(None)) == 6


def test_pictures_of_a_larger_store_are_cropped_with_their_boxes(tmp_path):
    store = make_store(tmp_path / "store", ["0.25 0.375 0.5 0.75", ""], side=32)
    preprocessing = {"image_size": 16, "mean": [0.5] * 3, "std": [0.5] * 3}
    images = ImageSet(store, ["i0", "i1"], preprocessing)
    logits = torch.tensor([[1.0], [1.0]])
    table = predictions(images.ids, "test", logits, images.labels)
    depths = torch.tensor([[3, 1, 2, 3, 1], [1, 1, 1, 1, 1]])
    from_model = answer_like(logits, depths)
    shown = Halting(table, images, from_model, from_model).pictures([0, 1])
    assert np.array_equal(decode(shown["image"][0])[::3, ::3], images.raw([0])[0][8:24, 8:24])
    assert shown["box"].tolist() == ["0 0.25 0.5 0.75", ""]
    assert shown["depths"].tolist() == ["1 2 3 1", "1 1 1 1"]


def answer_like(logits, depths):
    """Answers of a model whose tokens went so deep."""
    return Answers(logits, depths, torch.full((len(logits), 3), 1 / 3))


def test_without_boxes_there_is_no_depth_by_box(tmp_path):
    store = make_store(tmp_path / "store", ["", ""], side=16)
    preprocessing = {"image_size": 16, "mean": [0.5] * 3, "std": [0.5] * 3}
    images = ImageSet(store, ["i0", "i1"], preprocessing)
    same = answer_like(torch.zeros(2, 1), torch.ones(2, 5, dtype=torch.int64))
    table = predictions(images.ids, "test", same.logits, images.labels)
    assert Halting(table, images, same, same).measures() == {
        "depth_inside": None, "depth_outside": None, "boxed": 0, "packed_difference": 0.0,
    }  # fmt: skip


def test_points_of_each_method():
    named = {method: [(point.name, point.chosen) for point in models_of(method)] for method in HOW}
    assert named == {
        "avit": [
            ("packed 0.01", True), ("masked 0.01", False), ("eps 0.3", False), ("eps 0.6", False),
        ],
        "token_merging": [("r 2", True), ("r 1", False)],
        "token_pruning": [("keep 0.4", True), ("keep 0.6", False)],
    }  # fmt: skip


def test_answers_are_whole_and_in_order_whatever_the_batch(images, answers):
    packed, masked = answers["packed 0.01"], answers["masked 0.01"]
    assert packed.logits.shape == (len(images), CLASSES)
    assert packed.halting is None
    assert masked.halting.shape == (len(images), BLOCKS)
    torch.testing.assert_close(packed.logits, masked.logits, atol=1e-5, rtol=1e-5)
    assert torch.equal(packed.depths, masked.depths)
    assert len(packed.depths.unique()) == BLOCKS
    model = next(iter(models_of("avit").values()))
    whole = answer(make_fabric(0, 1), model, images, 100)
    torch.testing.assert_close(whole.logits, packed.logits, atol=1e-5, rtol=1e-5)
    pixels, _ = images.__getitems__([3])
    torch.testing.assert_close(packed.logits[3:4], model(pixels)[0], atol=1e-5, rtol=1e-5)


def test_an_evaluation_counts_the_images_of_all_splits_and_points(study, monkeypatch, caplog):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    models = models_of("avit")
    run = tested.TestedRun(
        experiment="halting",
        store=Store(study / "store"),
        assignments=read_index(study / "assignments.csv"),
        model=next(iter(models.values())),
        card={"preprocessing": PREPROCESSING},
        fabric=make_fabric(0, 1),
        features=None,
        splits=("valid", "test"),  # 48 and 32 images
        batch_size=16,
        mistakes=2,
    )
    with caplog.at_level("INFO"):
        evaluate_points(run, models)
    every = 80 * len(models)
    assert [line.split(",")[0] for line in caplog.messages if "evaluate" in line] == [
        f"evaluate halting: {done} of {every} images" for done in range(16, every, 16)
    ]


def test_a_larger_eps_costs_less(answers):
    depths = [answers[name].depths.sum().item() for name in ("packed 0.01", "eps 0.3", "eps 0.6")]
    assert depths[0] > depths[1] > depths[2]


def test_an_image_pays_for_its_live_tokens_and_masking_saves_nothing():
    packed, masked, *_ = models_of("avit").values()
    depths = torch.tensor([[3, 1, 1, 2, 1, 1, 1, 1, 1, 1], [1] * 10])
    architecture = ARCHITECTURE | {"image_size": 24}
    expected = [vit_flops(architecture, CLASSES, tokens) for tokens in ([10, 2, 1], [10, 0, 0])]
    assert packed.image_gflops(depths) == pytest.approx(expected, rel=1e-6)
    full = vit_flops(architecture, CLASSES)
    assert masked.image_gflops(depths) == pytest.approx(full)


@pytest.mark.parametrize("method", ["token_merging", "token_pruning"])
def test_tokens_that_leave_alike_cost_every_image_the_same(images, method):
    full = vit_flops(ARCHITECTURE | {"image_size": 24}, CLASSES)
    models = models_of(method)
    stronger, weaker = models.values()
    found = answer(make_fabric(0, 1), stronger, images, 32)
    assert found.depths is None
    assert stronger.image_gflops(None) < weaker.image_gflops(None) < full
    row = point_row(next(iter(models)), stronger, "test", found, images.labels)
    assert row["gflops"] == pytest.approx(stronger.image_gflops(None))
    assert row["mean_depth"] is row["exit_histogram"] is None


def test_a_points_row_says_what_its_answers_say(images, answers):
    rows = {
        point.name: point_row(point, model, "test", answers[point.name], images.labels)
        for point, model in models_of("avit").items()
    }
    packed, masked = rows["packed 0.01"], rows["masked 0.01"]
    assert list(packed) == EVALUATED
    found = answers["packed 0.01"]
    whole = classification_metrics(found.logits, images.labels)
    assert packed["n"] == len(images)
    assert packed["accuracy"] == masked["accuracy"] == pytest.approx(whole["accuracy"])
    assert packed["macro_f1"] == pytest.approx(whole["macro_f1"])
    assert packed["mean_depth"] == pytest.approx(found.depths.double().mean().item())
    histogram = [int(count) for count in packed["exit_histogram"].split()]
    assert sum(histogram) == found.depths.numel()
    weighed = sum(block * count for block, count in enumerate(histogram, start=1))
    assert weighed / sum(histogram) == pytest.approx(packed["mean_depth"])
    assert rows["eps 0.6"]["gflops"] < packed["gflops"] < masked["gflops"]
    assert masked["gflops"] == pytest.approx(vit_flops(ARCHITECTURE | {"image_size": 24}, CLASSES))
    assert [row["chosen"] for row in rows.values()] == [True, False, False, False]
    assert packed["latency_ms"] is packed["threshold"] is None


def test_averages_of_batches_by_hand():
    logits = torch.eye(3)[[0, 0, 2]]
    labels = torch.tensor([0, 1, 2])
    # Drawn as the third, first and second image. First batch: classes 2 and 0, both right; second:
    # class 1 alone, taken for 0.
    assert batch_averages(logits, labels, batch_size=2) == pytest.approx(
        {"batch_accuracy": (1 + 0) / 2, "batch_macro_f1": (1 + 0) / 2, "batch_size": 2}
    )
    # Images sorted by class, as a store holds them, count like any others.
    many = torch.arange(8).repeat_interleave(64)
    answers = torch.eye(8)[many.where(torch.arange(512) % 4 > 0, (many + 1) % 8)]
    assert batch_averages(answers, many)["batch_accuracy"] == pytest.approx(0.75, abs=0.02)
    # They depend on the batches; dataset measures do not.
    whole = batch_averages(logits, labels)
    assert whole["batch_size"] == 128
    assert whole["batch_accuracy"] == pytest.approx(2 / 3)
    assert whole["batch_macro_f1"] == pytest.approx((2 / 3 + 0 + 1) / 3)
