"""Mixup and CutMix: shares of pixels are shares of labels, drawn as torchvision draws them."""

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from frugalvit.training.mixing import Mixing

CLASSES = 40


def mixed(augment, seed=0, count=CLASSES, size=(20, 30)):
    """Images whose every pixel is their number, mixed; the pixels and the shares."""
    labels = torch.arange(count)
    images = labels.float()[:, None, None, None].expand(-1, 3, *size)
    return Mixing(augment, count, seed)(images, labels)


@pytest.mark.parametrize(
    "augment", [{"mixup": 0.8}, {"cutmix": 1.0}, {"mixup": 0.2, "cutmix": 1.0}]
)
def test_labels_have_the_shares_of_the_pixels(augment):
    images, targets = mixed(augment)
    assert torch.allclose(targets.sum(dim=1), torch.ones(CLASSES))
    expected = (targets * torch.arange(CLASSES)).sum(dim=1)
    assert torch.allclose(images.mean(dim=(1, 2, 3)), expected, atol=1e-3)
    partners = targets.clone()
    partners[torch.arange(CLASSES), torch.arange(CLASSES)] = 0
    others = partners.argmax(dim=1)[partners.sum(dim=1) > 1e-6]
    assert set(others.tolist()) <= set(range(CLASSES))
    assert targets.diagonal().unique().numel() > CLASSES // 2  # a draw an image, not one a batch


def test_mixup_blends_whole_images_and_cutmix_keeps_every_pixel():
    blended, _ = mixed({"mixup": 1.0})
    assert (blended.amax(dim=(1, 2, 3)) - blended.amin(dim=(1, 2, 3))).max() < 1e-5
    cut, _ = mixed({"cutmix": 1.0})
    assert torch.equal(cut, cut.round())
    assert max(len(image.unique()) for image in cut) == 2


def torchvisions_shares(transform, draws):
    """Share of its own label that the first of two images keeps, of torchvision's transform."""
    images, labels = torch.zeros(2, 3, 20, 30), torch.tensor([0, 1])
    return np.array([transform(images, labels)[1][0, 0].item() for _ in range(draws)])


@pytest.mark.parametrize(
    ("augment", "transform"),
    [
        ({"mixup": 0.2}, v2.MixUp(alpha=0.2, num_classes=2)),
        ({"mixup": 1.0}, v2.MixUp(alpha=1.0, num_classes=2)),
        ({"cutmix": 1.0}, v2.CutMix(alpha=1.0, num_classes=2)),
        ({"cutmix": 0.5}, v2.CutMix(alpha=0.5, num_classes=2)),
    ],
)
def test_shares_are_drawn_as_torchvision_draws_them(augment, transform):
    torch.manual_seed(0)
    theirs = torchvisions_shares(transform, 1500)
    _, targets = mixed(augment, count=1500, size=(20, 30))
    ours = targets.diagonal().numpy()
    # Two-sample Kolmogorov-Smirnov: 1.95 sqrt(2 / n) is passed by chance once in 1,000.
    at = np.sort(np.concatenate([ours, theirs]))
    ours, theirs = (
        np.searchsorted(np.sort(one), at, side="right") / 1500 for one in (ours, theirs)
    )
    assert np.abs(ours - theirs).max() < 1.95 * np.sqrt(2 / 1500)


def test_each_image_draws_which_of_two():
    images, targets = mixed({"mixup": 1.0, "cutmix": 1.0}, count=400)
    cut = (images == images.round()).flatten(1).all(dim=1) & (targets.max(dim=1).values < 1)
    assert 150 < cut.sum() < 250


def test_seeds_decide_all_and_nothing_is_done_where_off():
    first, again, other = (mixed({"cutmix": 1.0}, seed)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    images, labels = torch.rand(3, 3, 8, 8), torch.tensor([0, 1, 2])
    same, still = Mixing({"shift": 2, "mixup": 0}, 3, 0)(images, labels)
    assert same is images
    assert still is labels
