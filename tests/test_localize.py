"""One backbone, two heads: class and box, on images and on cached features, trained by every loss."""

import math

import pytest
import torch

from frugalvit.config.study import load_study
from frugalvit.errors import ConfigError
from frugalvit.methods.localize.model import Localizer, answers_of
from frugalvit.methods.localize.objective import Localization, box_loss
from frugalvit.models.backbone import block_outputs, build, pool
from frugalvit.models.heads import on_features
from tests.small_study import ARCHITECTURE

HOW = {
    "tokens": "grid", "hidden_dim": 32, "dropout": 0.0, "sigmoid": True,
    "box_loss": {"l1": 1.0, "giou": 0.2}, "class_divisor": 10,
}  # fmt: skip
TOKENS = ("class", "class_mean", "grid")


def make(tokens: str, **how) -> Localizer:
    torch.manual_seed(0)
    backbone = build(ARCHITECTURE | {"image_size": 24}, 4)
    return Localizer(backbone, HOW | {"tokens": tokens, **how})


@pytest.mark.parametrize("tokens", TOKENS)
def test_cached_features_answer_as_the_images_do(tokens):
    model = make(tokens).eval()
    images = torch.randn(5, 3, 24, 24)
    *_, last = block_outputs(model.backbone, images)
    features = pool(last)[:, None]
    inputs = [features, last] if model.grid_blocks else features
    torch.testing.assert_close(on_features(model)(inputs), model(images))
    assert model(images).shape == (5, 4 + 4 + 2)


def test_boxes_of_the_grid_lie_in_the_view_with_edges_in_order():
    model = make("grid").eval()
    boxes = answers_of(model(torch.randn(20, 3, 24, 24) * 5)).boxes
    assert boxes.min() >= 0
    assert boxes.max() <= 1
    assert (boxes[:, :2] <= boxes[:, 2:]).all()


@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize("divisor", [10, "balanced"])
def test_heads_learn_class_and_box_of_a_few_images(tokens, divisor):
    model = make(tokens, class_divisor=divisor).train()
    torch.manual_seed(1)
    labels = torch.arange(16) % 4
    low = torch.rand(16, 2) * 0.4
    targets = torch.cat([labels[:, None].float(), low, low + 0.2 + torch.rand(16, 2) * 0.4], 1)
    images = torch.randn(16, 3, 24, 24)
    objective = Localization(model.how)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(200):
        losses = objective.losses(model(images), targets, images)
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
    told = objective.of_split(objective.predicted(model.eval()(images)), targets)
    assert told["joint"] == 1
    assert told["mean_iou"] > 0.75
    moved = model.backbone.heads.log_variances.abs().max().item()
    assert (moved > 0) == (divisor == "balanced")


@pytest.mark.parametrize("name", ["mse", "l1", "smooth_l1", "giou"])
def test_every_box_loss_is_least_at_the_box_and_finite_beside_it(name):
    true = torch.tensor([[0.2, 0.3, 0.6, 0.5]])
    assert box_loss(true, true, {name: 1.0}).item() == pytest.approx(0, abs=1e-5)
    for other in ([0.7, 0.7, 0.9, 0.9], [0.6, 0.5, 0.2, 0.3], [0.4, 0.4, 0.4, 0.4]):
        predicted = torch.tensor([other], requires_grad=True)
        loss = box_loss(predicted, true, {name: 2.0})
        loss.backward()
        assert loss.item() > 0
        assert predicted.grad.isfinite().all()
        assert loss.item() == pytest.approx(2 * box_loss(predicted, true, {name: 1.0}).item())


def test_images_without_a_box_learn_their_class_alone():
    model = make("class_mean")
    images = torch.randn(3, 3, 24, 24)
    targets = torch.tensor([[0.0, 0.1, 0.1, 0.5, 0.5], [1.0, *[float("nan")] * 4], [2.0] * 5])
    targets[2, 1:] = float("nan")
    objective = Localization(model.how)
    losses = objective.losses(model(images), targets, images)
    losses["loss"].backward()
    assert losses["loss"].isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    none = objective.losses(model(images[1:]), targets[1:], images)
    assert none["box_loss"].item() == 0


def test_epochs_are_compared_by_the_class_where_no_image_has_a_box():
    objective = Localization(HOW)
    none = dict.fromkeys(("joint", "mean_iou", "iou_50", "iou_75", "iou_90"), float("nan"))
    scores = [
        objective.score(none | {"accuracy": accuracy, "loss": 1.0}) for accuracy in (0.5, 0.7)
    ]
    assert [-math.inf, -math.inf] < scores[0] < scores[1]
    found = {
        "joint": 0.2,
        "mean_iou": 0.5,
        "iou_75": 0.1,
        "iou_90": 0.0,
        "accuracy": 0.3,
        "loss": 2.0,
    }
    assert objective.score(found)[0] == 0.2


def study(**changes) -> dict:
    return {
        "study": "boxes",
        "dataset": {"source": "digits", "digits": {"canvas": 24, "train": 50, "valid": 20, "test": 20}},
        "base": {"source": "random", "image_size": 24, "architecture": ARCHITECTURE},
        "experiments": {
            "boxes": {"method": "localize", "schedule": [{"train": "head", "epochs": 1}], **changes}
        },
    }  # fmt: skip


def test_augmentation_that_boxes_cannot_follow_is_one_line():
    load_study(study(augment={"shift": 2}))
    with pytest.raises(ConfigError, match=r"boxes.schedule\[0\].augment.trivial_augment: .*false"):
        load_study(study(augment={"trivial_augment": True}))
    with pytest.raises(ConfigError, match=r"localize\.box_loss"):
        load_study(study(localize={"box_loss": {}}))
    with pytest.raises(ConfigError, match=r"localize\.class_divisor"):
        load_study(study(localize={"class_divisor": 0}))
