"""Views of whole batches: those of the loader from the same keys, operations those of torchvision."""

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode, v2

from frugalvit.data.batch_views import BINS, OPERATIONS, BatchAugment, magnitudes_of, operate
from frugalvit.data.views import Augment, view_keys
from frugalvit.errors import ConfigError

HOW = (24, [0.2, 0.3, 0.4], [0.25, 0.5, 0.2])
THEIRS = v2.TrivialAugmentWide()


def stored(count=64, side=32, seed=0):
    """Smooth images and noise, uint8."""
    random = np.random.default_rng(seed)
    noise = random.integers(256, size=(count, side, side, 3))
    ramp = np.linspace(0, 255, side)[None, :, None, None] * random.random((count, 1, 1, 3))
    smooth = (np.arange(count) % 2 == 0)[:, None, None, None]
    return np.where(smooth, ramp, noise).astype(np.uint8)


def views(settings, images, keys):
    augment = BatchAugment(settings, *HOW)
    return augment.view(torch.from_numpy(images), augment.draw(keys, *images.shape[1:3]))


@pytest.mark.parametrize(
    "settings",
    [
        {"horizontal_flip": 0.5},
        {"shift": 5},
        {"random_erasing": 0.7},
        {"horizontal_flip": 0.5, "shift": 3, "random_erasing": 0.5},
    ],
)
def test_the_same_keys_give_the_loaders_views(settings):
    images, keys = stored(), view_keys(1, 2, range(64))
    expected = Augment(settings, *HOW)(images, keys)
    assert torch.allclose(views(settings, images, keys), expected, atol=1e-6)


@pytest.mark.parametrize("scale", [[0.3, 1.0], [0.05, 0.3]])
def test_crops_are_the_loaders_but_for_two_grey_levels_at_most(scale):
    """torchvision resizes bytes with weights of 16 bits."""
    settings = {"crop_scale": scale, "crop_ratio": [0.5, 2.0], "horizontal_flip": 0.5, "shift": 2}
    images, keys = stored(), view_keys(1, 2, range(64))
    expected = Augment(settings, *HOW)(images, keys)
    levels = (
        (views(settings, images, keys) - expected).abs() * 255 * torch.tensor(HOW[2]).view(3, 1, 1)
    )
    assert levels.max() < 2.1
    assert levels.mean() < 0.1


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_are_torchvisions(name):
    strengths = magnitudes_of(name)
    theirs = THEIRS._AUGMENTATION_SPACE[name][0](BINS, 24, 24)
    if theirs is not None:
        assert strengths.tolist() == pytest.approx(theirs.tolist(), abs=1e-5)
    assert OPERATIONS[name] == THEIRS._AUGMENTATION_SPACE[name][1]
    signs = (1, -1) if OPERATIONS[name] else (1,)
    images = torch.from_numpy(stored(BINS, 24)).permute(0, 3, 1, 2)
    for sign in signs:
        own = operate(name, images.float(), torch.from_numpy(sign * strengths).float())
        expected = torch.stack(
            [
                THEIRS._apply_image_or_video_transform(
                    image, name, float(sign * strength),
                    interpolation=InterpolationMode.NEAREST, fill={},
                )
                for image, strength in zip(images, strengths)
            ]
        )  # fmt: skip
        differing = (own - expected.float()).abs()
        # Where a pixel lies between two, or a product between two whole numbers, rounding decides.
        assert (differing > 1).float().mean() < 0.002
        assert differing.mean() < 0.1


def test_operations_and_magnitudes_are_drawn_evenly():
    """As torchvision does; chi-squared of 13 and of 30 degrees of freedom, passed once in 1,000."""
    augment = BatchAugment({"trivial_augment": True}, *HOW)
    drawn = augment.draw(view_keys(0, 0, range(14_000)), 32, 32)
    counts = np.array(drawn["counts"])
    assert ((counts - 1000) ** 2 / 1000).sum() < 34.5
    ends = np.cumsum(counts)
    place = list(OPERATIONS).index("Rotate")
    turned = drawn["magnitudes"][ends[place - 1] : ends[place]].numpy()
    bins = np.bincount((np.abs(turned) / 135 * 30).round().astype(int), minlength=BINS)
    expected = len(turned) / BINS
    assert ((bins - expected) ** 2 / expected).sum() < 59.7
    assert abs((turned < 0).mean() - (1 - 1 / BINS) / 2) < 0.06
    assert sorted(drawn["order"].tolist()) == list(range(14_000))


def test_each_image_gets_its_own_operation_whatever_the_batch():
    settings = {"trivial_augment": True, "horizontal_flip": 0.5, "random_erasing": 0.3, "shift": 2}
    images, keys = stored(), view_keys(3, 1, range(64))
    whole = views(settings, images, keys)
    alone = torch.cat([views(settings, images[i : i + 1], keys[i : i + 1]) for i in range(64)])
    assert torch.allclose(whole, alone, atol=1e-6)
    assert not torch.allclose(whole, views(settings, images, view_keys(3, 2, range(64))))


def test_its_distribution_is_that_of_the_loaders():
    """Means of pixels over many draws of one image; standard errors are below a grey level."""
    images = np.repeat(stored(1), 1500, axis=0)
    settings = {"trivial_augment": True}
    ours = views(settings, images, view_keys(0, 0, range(1500)))
    theirs = Augment(settings, *HOW)(images, view_keys(1, 0, range(1500)))
    for statistic in (lambda x: x.mean(dim=(0, 2, 3)), lambda x: x.mean(dim=(2, 3)).std(dim=0)):
        assert torch.allclose(statistic(ours), statistic(theirs), atol=0.1)


def test_policies_that_only_the_loader_knows_are_refused():
    with pytest.raises(ConfigError, match="auto_augment is not computed on the device"):
        BatchAugment({"auto_augment": True}, *HOW)
