"""Boxes follow their objects through every view; targets hold both; how well boxes are found."""

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from frugalvit.data.batches import FeatureSet, ImageSet
from frugalvit.data.boxes import boxes_in_view, in_window, split_targets, with_boxes
from frugalvit.data.store import Store
from frugalvit.data.views import Augment
from frugalvit.training.features import CACHE_SEED, cached_targets, image_sets, view_targets
from tests.small_study import make_study

SIDE, SIZE = 96, 64
SETTINGS = [
    {"horizontal_flip": 0.5},
    {"shift": 12},
    {"crop_scale": [0.4, 1.0], "crop_ratio": [0.75, 1.33]},
    {"horizontal_flip": 0.5, "crop_scale": [0.3, 1.0], "random_erasing": 0.3},
]
PLAIN = {"mean": [0.0] * 3, "std": [1.0] * 3}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("boxes"))


def drawn(count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Black squares with a white rectangle each, and where it lies."""
    random = np.random.default_rng(0)
    low = random.integers(0, 60, (count, 2))
    high = low + random.integers(16, 36, (count, 2))
    images = np.zeros((count, SIDE, SIDE, 3), dtype=np.uint8)
    for image, (x0, y0), (x1, y1) in zip(images, low, high):
        image[y0:y1, x0:x1] = 255
    return images, np.concatenate([low, high], axis=1) / SIDE


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_object_is_where_its_box_says(settings):
    images, boxes = drawn()
    keys = np.arange(len(images), dtype=np.uint64) * np.uint64(77)
    views = Augment({**settings, "random_erasing": 0.0}, SIZE, **PLAIN)(images, keys)
    moved = Augment(settings, SIZE, **PLAIN).boxes(boxes, keys, SIDE)
    seen = 0
    for view, (x0, y0, x1, y1) in zip(views[:, 0] > 0.5, moved * SIZE):
        if not view.any():
            assert np.isnan(x0) or min(x1 - x0, y1 - y0) < 1.5
            continue
        seen += 1
        rows, columns = view.any(dim=1).nonzero(), view.any(dim=0).nonzero()
        found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert [float(edge) for edge in found] == pytest.approx([x0, y0, x1, y1], abs=1.01)
    assert seen > 30


def test_flips_and_whole_shifts_can_be_undone():
    boxes = np.array([[0.3, 0.4, 0.5, 0.45], [0.25, 0.25, 0.75, 0.75], [np.nan] * 4])
    keys = np.arange(3, dtype=np.uint64)
    flip = Augment({"horizontal_flip": 1.0}, SIZE, **PLAIN)
    np.testing.assert_allclose(flip.boxes(flip.boxes(boxes, keys, SIZE), keys, SIZE), boxes)
    still = Augment({"shift": 0}, SIZE, **PLAIN).boxes(boxes, keys, SIZE)
    np.testing.assert_allclose(still, boxes)


def test_what_a_view_cuts_off_is_no_box():
    boxes = np.array([[0.0, 0.0, 10.0, 10.0], [5.0, 5.0, 40.0, 20.0], [40.0, 40.0, 50.0, 50.0]])
    cut = in_window(boxes, 16.0, 16.0)
    np.testing.assert_allclose(cut, [[np.nan] * 4, [0.0, 0.0, 1.0, 0.25], [np.nan] * 4])


def test_policies_that_do_not_tell_where_objects_go_are_refused():
    augment = Augment({"trivial_augment": True}, SIZE, **PLAIN)
    with pytest.raises(ValueError, match="no boxes"):
        augment.boxes(np.zeros((1, 4)), [1], SIDE)


def test_targets_hold_class_and_box(study):
    store = Store(study / "store")
    ids = store.ids("valid")
    how = {"image_size": 24, **PLAIN}
    images = ImageSet(store, ids, how, boxed=True)
    _, targets = images.__getitems__([3, 1, 2])
    labels, boxes = split_targets(targets)
    assert torch.equal(labels, images.labels[[3, 1, 2]])
    expected = boxes_in_view(store, [ids[place] for place in (3, 1, 2)], 24)
    np.testing.assert_allclose(boxes.numpy(), expected, atol=1e-6)
    assert torch.equal(ImageSet(store, ids, how).targets([0, 1]), images.labels[:2])
    large = with_boxes(torch.tensor([2**24 - 1]), np.zeros((1, 4)))
    assert split_targets(large)[0].item() == 2**24 - 1


def test_cached_views_bring_their_own_boxes(study):
    """A study's images are some of the store's: each finds the views in which it is cached."""
    store, how = Store(study / "store"), {"image_size": 24, **PLAIN}
    augment = {"shift": 3, "horizontal_flip": 0.5}
    whole = view_targets(image_sets(store, store.ids("train"), how, 3, augment, CACHE_SEED, True))
    assert whole.shape == (96, 3, 5)
    assert not torch.equal(whole[:, 0], whole[:, 1])
    chosen = [5, 90, 17]
    ids = [store.ids("train")[row] for row in chosen]
    mine = cached_targets(ImageSet(store, ids, how, boxed=True), 3, augment)
    assert torch.equal(mine, whole[chosen])
    features = FeatureSet(torch.randn(3, 3, 1, 2, 8), mine, seed=4)
    drawn = {features.__getitems__([0])[1][0, 1].item() for features.epoch in range(30)}
    assert drawn == set(mine[0, :, 1].tolist())


def test_iou_is_torchvisions_for_each_pair():
    from frugalvit.methods.localize.measures import measures, overlaps

    random = torch.Generator().manual_seed(0)
    low = torch.rand(50, 2, generator=random) * 0.5
    true = torch.cat([low, low + 0.1 + torch.rand(50, 2, generator=random) * 0.4], dim=1)
    predicted = true + torch.randn(50, 4, generator=random) * 0.03
    ious = overlaps(predicted, true)
    assert ious == pytest.approx(box_iou(predicted, true).diagonal().tolist(), abs=1e-5)
    labels = torch.arange(50.0)
    true[7] = float("nan")
    told = measures(
        torch.cat([labels[:, None], predicted], 1), torch.cat([labels[:, None], true], 1)
    )
    kept = torch.cat([ious[:7], ious[8:]])
    assert told["mean_iou"] == pytest.approx(kept.mean().item())
    assert told["iou_75"] == (kept >= 0.75).double().mean()
    assert told["joint"] == told["iou_50"]
    wrong = measures(
        torch.cat([labels[:, None] + 1, predicted], 1), torch.cat([labels[:, None], true], 1)
    )
    assert wrong["joint"] == 0
    assert wrong["iou_50"] == told["iou_50"]
