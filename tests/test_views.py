"""Views are the model's pixels: exact when evaluated, random but repeatable when trained."""

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from frugalvit.data.views import Augment, normalize, to_tensor, view_keys
from frugalvit.errors import ConfigError

MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.3, 0.25]
EVERYTHING = {
    "horizontal_flip": 0.5,
    "crop_scale": [0.5, 1.0],
    "crop_ratio": [0.8, 1.25],
    "shift": 2,
    "trivial_augment": True,
    "random_erasing": 0.5,
}
WITH_AUTO_AUGMENT = EVERYTHING | {"trivial_augment": False, "auto_augment": True}
both_policies = pytest.mark.parametrize("settings", [EVERYTHING, WITH_AUTO_AUGMENT])


def pixel_views(settings, size):
    """Views as pixels: what the model would see, before the channels are scaled."""
    augment = Augment(settings, size, [0.0] * 3, [1 / 255] * 3)
    return lambda images, keys: augment(images, keys).round()


def pictures(count: int = 12, side: int = 24) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def keys(count: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(0, 2**63, count).tolist()


@pytest.mark.parametrize(("side", "size"), [(24, 24), (24, 20), (33, 24)])
def test_the_evaluation_view_is_torchvisions(side, size):
    images = pictures(side=side)
    if (side - size) % 2:
        images = images[:, : side - 1, : side - 1]
    expected = v2.Compose(
        [
            v2.CenterCrop(size),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )(torch.from_numpy(images).permute(0, 3, 1, 2))
    found = to_tensor(images, size, MEAN, STD)
    assert found.is_contiguous()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_too_large_a_view_is_refused():
    with pytest.raises(ValueError, match="image_size 32 is larger than the stored 24 x 24 px"):
        to_tensor(pictures(), 32, MEAN, STD)


def test_nothing_on_changes_nothing():
    images = pictures()
    views = pixel_views({}, 24)(images, keys(12))
    assert torch.equal(views, torch.from_numpy(images).permute(0, 3, 1, 2).float())


@both_policies
def test_a_view_depends_on_its_key_alone(settings):
    images, own = pictures(), keys(12)
    augment = pixel_views(settings, 20)
    whole = augment(images, own)
    assert whole.shape == (12, 3, 20, 20)
    assert whole.dtype == torch.float32
    order = [7, 3, 11, 0]
    assert torch.equal(augment(images[order], [own[i] for i in order]), whole[order])
    singles = [augment(images[i : i + 1], own[i : i + 1]) for i in range(12)]
    assert torch.equal(torch.cat(singles), whole)
    assert not torch.equal(augment(images, keys(12, seed=1)), whole)


@both_policies
def test_the_global_generators_are_left_alone(settings):
    torch.manual_seed(5)
    np.random.seed(5)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    pixel_views(settings, 20)(pictures(), keys(12))
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpy_before).all()
    torch.manual_seed(6)
    again = pixel_views(settings, 20)(pictures(), keys(12))
    torch.manual_seed(7)
    assert torch.equal(pixel_views(settings, 20)(pictures(), keys(12)), again)


@both_policies
def test_input_is_not_changed(settings):
    images = pictures()
    before = images.copy()
    pixel_views(settings, 24)(images, keys(12))
    images.setflags(write=False)
    pixel_views({"random_erasing": 1.0, "horizontal_flip": 1.0}, 24)(images, keys(12))
    assert (images == before).all()


def test_flips_are_drawn_per_image():
    images = pictures(400)
    plain = torch.from_numpy(images).permute(0, 3, 1, 2)
    views = pixel_views({"horizontal_flip": 0.25}, 24)(images, keys(400))
    kept = (views == plain).flatten(1).all(1)
    flipped = (views == plain.flip(-1)).flatten(1).all(1)
    assert (kept ^ flipped).all()
    assert 70 <= int(flipped.sum()) <= 130


def test_shifts_reach_every_offset_and_repeat_the_edge():
    side = 9
    images = np.zeros((600, side, side, 3), dtype=np.uint8)
    images[:, 4, 4] = 255
    views = pixel_views({"shift": 2}, side)(images, keys(600))
    places = {tuple(place[1:].tolist()) for place in (views[:, 0] == 255).nonzero()}
    assert places == {(y, x) for y in range(2, 7) for x in range(2, 7)}
    ramp = np.repeat(np.arange(side, dtype=np.uint8)[None, :, None, None], 50, axis=0)
    ramp = np.broadcast_to(ramp, (50, side, side, 3))
    rows = pixel_views({"shift": 3}, side)(ramp, keys(50))[:, 0, :, 0].int()
    assert rows.min() == 0
    assert rows.max() == side - 1
    assert ((rows[:, 1:] - rows[:, :-1]) >= 0).all()


def test_a_shift_uses_the_stored_margin():
    images = np.broadcast_to(np.arange(30, dtype=np.uint8)[None, :, None, None], (80, 30, 30, 3))
    rows = pixel_views({"shift": 3}, 24)(images, keys(80))[:, 0, :, 0].int()
    assert set(rows[:, 0].tolist()) == set(range(7))
    assert ((rows[:, 1:] - rows[:, :-1]) == 1).all()


def test_crops_keep_to_their_area_and_ratio():
    """Coordinates as colours: a crop's corners tell where it was cut."""
    side = 200
    y, x = np.mgrid[:side, :side].astype(np.uint8)
    image = np.stack([y, x, np.zeros_like(y)], axis=-1)
    images = np.broadcast_to(image, (200, side, side, 3))
    settings = {"crop_scale": [0.25, 0.64], "crop_ratio": [0.5, 2.0]}
    views = pixel_views(settings, 64)(images, keys(200)).float()
    tall = (views[:, 0, -1, 0] - views[:, 0, 0, 0]) * 64 / 63
    wide = (views[:, 1, 0, -1] - views[:, 1, 0, 0]) * 64 / 63
    area, ratio = tall * wide / side**2, wide / tall
    assert area.min() > 0.22
    assert area.max() < 0.68
    assert 0.45 < ratio.min() < 0.65
    assert 1.6 < ratio.max() < 2.2
    assert views[:, 0, 0, 0].std() > 10


def test_a_crop_is_torchvisions_resized_crop():
    images, own = pictures(40, 32), keys(40)
    views = pixel_views({"crop_scale": [1.0, 1.0], "crop_ratio": [1.0, 1.0]}, 16)(images, own)
    expected = v2.functional.resize(torch.from_numpy(images).permute(0, 3, 1, 2), [16, 16])
    assert (views.int() - expected.int()).abs().max() <= 1


def test_erasing_takes_one_rectangle_of_some_images():
    images = pictures(300)
    views = pixel_views({"random_erasing": 0.5}, 24)(images, keys(300))
    changed = (views != torch.from_numpy(images).permute(0, 3, 1, 2)).any(1)
    touched = changed.flatten(1).any(1)
    assert 115 <= int(touched.sum()) <= 185
    share = changed.float().mean(dim=(1, 2))[touched]
    assert share.min() >= 0.005
    assert share.max() <= 0.36


def test_auto_augment_is_torchvisions_policy_for_imagenet():
    """One of its pairs of operations, drawn anew for each image; some leave the image alone."""
    images, own = pictures(200), keys(200)
    policy = v2.AutoAugment(v2.AutoAugmentPolicy.IMAGENET)
    expected = []
    with torch.random.fork_rng(devices=[]):
        for image, key in zip(torch.from_numpy(images).permute(0, 3, 1, 2), own):
            torch.default_generator.manual_seed(key >> 1)
            expected.append(policy(image))
    views = pixel_views({"auto_augment": True}, 24)(images, own)
    assert torch.equal(views, torch.stack(expected).float())
    kept = (views == torch.from_numpy(images).permute(0, 3, 1, 2)).flatten(1).all(1)
    assert 0 < int(kept.sum()) < 100
    assert not torch.equal(views, pixel_views({"trivial_augment": True}, 24)(images, own))


def test_two_policies_at_once_are_refused():
    with pytest.raises(ConfigError, match="trivial_augment and auto_augment are both on"):
        pixel_views({"trivial_augment": True, "auto_augment": True}, 24)


def test_one_setting_does_not_reshuffle_another():
    images, own = pictures(), keys(12)
    one = pixel_views({"shift": 2}, 24)(images, own)
    both = pixel_views({"shift": 2, "horizontal_flip": 1.0}, 24)(images, own)
    assert torch.equal(both.flip(-1), one)


def test_an_empty_batch():
    assert pixel_views(EVERYTHING, 20)(pictures(0), []).shape == (0, 3, 20, 20)
    assert to_tensor(pictures(0), 20, MEAN, STD).shape == (0, 3, 20, 20)


def test_mistakes_are_refused():
    with pytest.raises(ValueError, match="unknown setting 'rotate'"):
        pixel_views({"rotate": 3}, 24)
    with pytest.raises(ValueError, match="12 images but 3 keys"):
        pixel_views({}, 24)(pictures(), keys(3))


def test_views_are_normalised_and_erased_to_the_mean():
    images, own = pictures(), view_keys(0, 1, range(12))
    found = Augment({}, 20, MEAN, STD)(images, own)
    assert torch.equal(found, to_tensor(images, 20, MEAN, STD))
    erased = Augment({"random_erasing": 1.0}, 20, MEAN, STD)(images, own)
    changed = erased != found
    assert changed.flatten(1).any(1).all()
    assert (erased[changed] == 0).all()


def test_keys_tell_seeds_views_and_images_apart():
    every = [view_keys(seed, view, range(50)) for seed in range(5) for view in range(20)]
    assert len(np.unique(np.concatenate(every))) == 5000
    assert view_keys(3, 7, [9])[0] == view_keys(3, 7, range(10))[9]


def test_normalize_is_exact():
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    expected = (pixels.double() / 255 - torch.tensor(MEAN).view(1, 3, 1, 1).double()) / (
        torch.tensor(STD).view(1, 3, 1, 1).double()
    )
    torch.testing.assert_close(
        normalize(pixels, MEAN, STD).double(), expected, rtol=1e-5, atol=1e-5
    )
