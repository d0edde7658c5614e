"""Temperatures that are known, and thresholds against trying every one."""

import pytest
import torch
import torch.nn.functional as F

from frugalvit.errors import DataError
from frugalvit.methods.early_exit.calibration import (
    fit_temperatures,
    for_budget,
    for_drop,
    least_gflops,
    threshold_curve,
)
from frugalvit.methods.early_exit.criteria import CRITERIA, first_exits, score_exits
from frugalvit.methods.early_exit.enough import MINIMUM_IMAGES, split_calibration
from frugalvit.operating_point import NEVER

EXITS, CLASSES = 4, 5
GFLOPS, FULL_GFLOPS = [1.0, 2.0, 3.0, 4.25], 4.0


def make_logits(images: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits `[images, exits, classes]` that get better with depth, and labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (images,), generator=generator)
    noise = torch.randn(images, EXITS, CLASSES, generator=generator)
    signal = F.one_hot(labels, CLASSES)[:, None] * torch.tensor([1.0, 2.0, 3.0, 3.5])[:, None]
    return 2 * (signal + noise), labels


def all_thresholds(scores: torch.Tensor, criterion: str) -> list[float]:
    seen = sorted(set(scores[:, :-1].flatten().tolist()), reverse=True)
    return [NEVER, *(s for s in seen if criterion != "patience" or s >= 2)]


def mean_cost(scores: torch.Tensor, threshold: float) -> float:
    if threshold == NEVER:
        return FULL_GFLOPS
    return torch.tensor(GFLOPS)[first_exits(scores, threshold)].double().mean().item()


def test_each_exit_gets_the_temperature_its_labels_were_drawn_at():
    generator = torch.Generator().manual_seed(0)
    true = torch.tensor([0.4, 1.0, 2.5])
    one = 3 * torch.randn(20_000, CLASSES, generator=generator)
    labels = torch.multinomial(one.softmax(dim=1), 1, generator=generator).squeeze(1)
    fitted = fit_temperatures(one[:, None] * true[:, None], labels)
    torch.testing.assert_close(fitted, true.double(), rtol=0.03, atol=0)


def test_no_other_temperature_has_a_smaller_cross_entropy():
    logits, labels = make_logits(300)
    fitted = fit_temperatures(logits, labels)
    for position in range(EXITS):

        def loss(temperature: float, position: int = position) -> float:
            return F.cross_entropy(logits[:, position].double() / temperature, labels).item()

        found = loss(fitted[position].item())
        assert all(found <= loss(t) + 1e-9 for t in torch.linspace(0.05, 20, 400).tolist())


def test_temperatures_stay_in_bounds_and_useless_exits_keep_one():
    labels = torch.arange(60) % CLASSES
    right = F.one_hot(labels, CLASSES).float()
    wrong = F.one_hot((labels + 1) % CLASSES, CLASSES).float()
    fitted = fit_temperatures(torch.stack([right, wrong, torch.zeros_like(right)], dim=1), labels)
    assert fitted[0].item() == pytest.approx(0.05, rel=1e-3)
    assert fitted[1].item() == pytest.approx(20, rel=1e-3)
    assert fitted[2].item() == 1


def test_calibration_images_are_divided_by_whole_groups():
    groups = [f"digit{k // 3}" if k < 120 else "" for k in range(200)]
    fit, certify = split_calibration(groups, 0.75, seed=1)
    assert sorted(fit + certify) == list(range(200))
    assert not {groups[k] for k in fit} & {groups[k] for k in certify} - {""}
    assert any(groups[k] for k in fit) and any(groups[k] for k in certify)
    units = len({groups[k] for k in certify} - {""}) + sum(not groups[k] for k in certify)
    assert units == round(0.75 * (40 + 80))
    assert (fit, certify) == split_calibration(groups, 0.75, seed=1)
    assert (fit, certify) != split_calibration(groups, 0.75, seed=2)
    assert split_calibration(groups, 0.0, seed=1) == (list(range(200)), [])


def test_too_few_calibration_images():
    split_calibration([""] * MINIMUM_IMAGES, 0.6, seed=0)
    with pytest.raises(DataError, match=r"leaves 12 of 50 .* lower calibration.certify, raise"):
        split_calibration([""] * MINIMUM_IMAGES, 0.75, seed=0)
    with pytest.raises(DataError) as caught:
        split_calibration([""] * (MINIMUM_IMAGES - 1), 0.75, seed=0)
    assert str(caught.value) == (
        "splits.calibration.fraction: gives 49 calibration images, but at least 50 are needed; "
        "raise splits.calibration.fraction or add images"
    )
    with pytest.raises(DataError, match=r"^splits\.calibration\.fraction: gives 1 group of .* few"):
        split_calibration(["one"] * 60, 0.75, seed=0)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_the_curve_is_what_every_threshold_gives(criterion):
    logits, labels = make_logits(80)
    scores, answers = score_exits(logits, [1.0] * EXITS, criterion)
    right = answers.argmax(dim=2) == labels[:, None]
    thresholds, accuracy = threshold_curve(scores, right)
    _, cost = threshold_curve(scores, torch.tensor(GFLOPS))
    assert len(thresholds) >= 3
    for threshold, accurate, mean in zip(thresholds.tolist(), accuracy, cost):
        exits = first_exits(scores, threshold)
        assert accurate.item() == pytest.approx(right[torch.arange(80), exits].double().mean())
        assert mean.item() == pytest.approx(torch.tensor(GFLOPS)[exits].double().mean())


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("share", [0.4, 0.6, 0.8, 1.0])
def test_a_budget_is_kept_and_used(criterion, share):
    scores, _ = score_exits(make_logits(80)[0], [1.0] * EXITS, criterion)
    threshold = for_budget(scores, criterion, GFLOPS, FULL_GFLOPS, share)
    affordable = [
        cost
        for t in all_thresholds(scores, criterion)
        if (cost := mean_cost(scores, t)) <= share * FULL_GFLOPS
    ]
    expected = max(affordable) if affordable else FULL_GFLOPS
    assert mean_cost(scores, threshold) == pytest.approx(expected)
    assert (threshold == NEVER) == (share == 1 or not affordable)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_budget_that_nothing_keeps(criterion):
    scores, _ = score_exits(make_logits(80)[0], [1.0] * EXITS, criterion)
    assert for_budget(scores, criterion, GFLOPS, FULL_GFLOPS, 0.1) == NEVER
    least = min(mean_cost(scores, t) for t in all_thresholds(scores, criterion))
    assert least_gflops(scores, criterion, GFLOPS) == pytest.approx(least)


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("drop", [0.0, 0.02, 0.1, 1.0])
def test_a_drop_is_kept_as_cheaply_as_can_be(criterion, drop):
    logits, labels = make_logits(200)
    scores, answers = score_exits(logits, [1.0] * EXITS, criterion)
    right = answers.argmax(dim=2) == labels[:, None]
    full_right = logits[:, -1].argmax(dim=1) == labels

    def kept(threshold: float) -> bool:
        if threshold == NEVER:
            return True
        answered = right[torch.arange(200), first_exits(scores, threshold)]
        return (full_right.sum() - answered.sum()).item() <= drop * 200 + 1e-6

    threshold = for_drop(scores, criterion, right, full_right, drop, GFLOPS, FULL_GFLOPS)
    assert kept(threshold)
    cheapest = min(mean_cost(scores, t) for t in all_thresholds(scores, criterion) if kept(t))
    assert min(mean_cost(scores, threshold), FULL_GFLOPS) == pytest.approx(cheapest)


@pytest.mark.parametrize("criterion", ["confidence", "entropy", "margin", "ensemble"])
def test_rounding_turns_no_decision_on_calibration_images(criterion):
    scores, _ = score_exits(make_logits(80)[0], [1.0] * EXITS, criterion)
    threshold = for_budget(scores, criterion, GFLOPS, FULL_GFLOPS, 0.7)
    exits = first_exits(scores, threshold)
    assert (exits < EXITS - 1).any()
    for error in (-1e-6, 1e-6):
        assert torch.equal(first_exits(scores + error, threshold), exits)


def test_a_model_without_early_exits_never_leaves():
    scores, right = torch.rand(60, 1), torch.ones(60, 1, dtype=torch.bool)
    assert for_budget(scores, "confidence", [4.0], 4.0, 0.5) == NEVER
    assert for_drop(scores, "confidence", right, right[:, 0], 0.1, [4.0], 4.0) == NEVER
    assert least_gflops(scores, "confidence", [4.0]) == 4.0
