"""The promise of risk control, drawn many times, and that it is worth something.

Every draw is seeded. Where a share of broken promises is compared with delta, two standard errors
of the share are allowed, and a test that is broken on purpose must exceed them.
"""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from frugalvit.errors import DataError
from frugalvit.evaluation.promises import minimum_groups, p_value
from frugalvit.methods.early_exit import risk
from frugalvit.methods.early_exit.choosing import correctness
from frugalvit.methods.early_exit.criteria import CRITERIA, first_exits, score_exits
from frugalvit.methods.early_exit.risk import certify, threshold_grid
from frugalvit.operating_point import NEVER

EPSILON, DELTA, DRAWS = 0.03, 0.1, 200
EXITS, CLASSES = 6, 5
SLACK = 2 * (DELTA * (1 - DELTA) / DRAWS) ** 0.5


def looks_safe(losses: np.ndarray, epsilon: float) -> float:
    """A broken p-value: takes the mean of the calibration images for the truth."""
    return 0.0 if losses.mean() <= epsilon else 1.0


@dataclass
class Pool:
    """A finite population: calibration images are drawn from it, the truth is known."""

    scores: torch.Tensor
    right: torch.Tensor
    full_right: torch.Tensor
    criterion: str

    def drop(self, threshold: float) -> float:
        """Accuracy that a threshold loses over the whole pool."""
        if threshold == NEVER:
            return 0.0
        exits = first_exits(self.scores, threshold)
        answered = self.right.gather(1, exits[:, None]).squeeze(1)
        return (self.full_right.double() - answered.double()).mean().item()

    def share_early(self, threshold: float) -> float:
        exits = first_exits(self.scores, threshold)
        return (exits < EXITS - 1).double().mean().item()

    def certified(self, n: int, seed: int, epsilon: float = EPSILON) -> float:
        """The threshold that `n` images certify, drawn with replacement."""
        drawn = torch.from_numpy(np.random.default_rng(seed).integers(len(self.scores), size=n))
        certificate = certify(
            self.scores[drawn], self.right[drawn], self.full_right[drawn], [""] * n, epsilon,
            DELTA, threshold_grid(self.criterion, EXITS), seed,
        )  # fmt: skip
        return certificate.threshold

    def violations(self, n: int, epsilon: float = EPSILON) -> float:
        """Share of draws whose certified threshold loses more than epsilon in truth."""
        drops = [self.drop(self.certified(n, seed, epsilon)) for seed in range(DRAWS)]
        return float(np.mean([drop > epsilon + 1e-12 for drop in drops]))


def make_pool(criterion: str, images: int = 4000) -> Pool:
    """Exits that get better with depth, on images from easy to hopeless."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(CLASSES, (images,), generator=generator)
    ease = 3 * torch.rand(images, 1, 1, generator=generator)
    depth = torch.linspace(0.5, 1.6, EXITS)[:, None]
    noise = 0.5 * torch.randn(images, 1, CLASSES, generator=generator)
    noise = noise + torch.randn(images, EXITS, CLASSES, generator=generator)
    logits = 2 * (2 * ease * depth * F.one_hot(labels, CLASSES)[:, None] + noise)
    temperatures = [1.5] * EXITS
    scores, _ = score_exits(logits, temperatures, criterion)
    return Pool(scores, *correctness(logits, labels, temperatures, criterion), criterion)


def edge_pool(images: int = 4000) -> Pool:
    """Every image is sure to leave at once, and the harm is a hair above epsilon."""
    right = torch.ones(images, EXITS, dtype=torch.bool)
    right[: int(EPSILON * images) + 1, :-1] = False
    scores = torch.full((images, EXITS), 1.0)
    return Pool(scores, right, right[:, -1], "confidence")


BOUNDARIES = {  # values and probabilities of losses whose mean is epsilon exactly
    "rare harm": ([1.0, 0.0], [0.03, 0.97]),
    "harm and gain": ([1.0, -1.0, 0.0], [0.10, 0.07, 0.83]),
    "much of both": ([1.0, -1.0], [0.515, 0.485]),
    "means of groups": ([0.25, -0.25, 0.0], [0.2, 0.08, 0.72]),
}


LEVELS = np.array([0.02, 0.05, DELTA, 0.2])
TRIALS = 2000


def exceedances(test, values: list[float], probabilities: list[float]) -> np.ndarray:
    """Share of draws of 300 losses that a test rejects at each of `LEVELS`."""
    generator = np.random.default_rng(0)
    draws = generator.choice(values, p=probabilities, size=(TRIALS, 300))
    found = np.array([test(losses, EPSILON) for losses in draws])
    return (found[:, None] <= LEVELS).mean(axis=0)


@pytest.mark.parametrize("case", BOUNDARIES)
def test_p_values_are_valid_where_the_loss_is_epsilon(case):
    values, probabilities = BOUNDARIES[case]
    assert np.dot(values, probabilities) == pytest.approx(EPSILON)
    allowed = LEVELS + 2 * (LEVELS * (1 - LEVELS) / TRIALS) ** 0.5
    assert (exceedances(p_value, values, probabilities) <= allowed).all()
    assert (exceedances(looks_safe, values, probabilities) > allowed).all()


def test_p_values_say_what_the_losses_say():
    assert p_value(np.zeros(0), EPSILON) == 1.0
    assert p_value(np.ones(300), EPSILON) == 1.0
    nothing_lost, one_lost = np.zeros(300), np.r_[np.zeros(299), 1.0]
    assert 0 < p_value(nothing_lost, EPSILON) < 1e-3
    assert p_value(nothing_lost, 0.02) > p_value(nothing_lost, EPSILON)
    assert p_value(np.r_[1.0, np.zeros(299)], EPSILON) > p_value(nothing_lost, EPSILON)
    assert p_value(one_lost, EPSILON) < 1e-2
    assert p_value(np.full(300, -1.0), EPSILON) < 1e-9


@pytest.mark.parametrize("criterion", ["confidence", "patience", "ensemble"])
def test_the_promise_holds_over_many_draws(criterion):
    pool = make_pool(criterion)
    assert max(pool.drop(t) for t in threshold_grid(criterion, EXITS)) > EPSILON
    assert pool.violations(400) <= DELTA + SLACK


def test_the_promise_holds_where_every_early_exit_is_just_too_much(monkeypatch):
    pool = edge_pool()
    assert EPSILON < pool.drop(0.5) < EPSILON + 0.001
    assert pool.violations(400) <= DELTA + SLACK
    monkeypatch.setattr(risk, "p_value", looks_safe)
    assert pool.violations(400) > DELTA + SLACK


@pytest.mark.parametrize("criterion", CRITERIA)
def test_there_is_something_to_gain(criterion):
    pool = make_pool(criterion)
    safe = [t for t in threshold_grid(criterion, EXITS) if pool.drop(t) <= EPSILON]
    best = max(pool.share_early(t) for t in safe)
    gained = np.mean([pool.share_early(pool.certified(1000, seed)) for seed in range(20)])
    assert best > 0.3
    assert gained > 0.7 * best


def certify_harmless(n: int, epsilon: float = EPSILON, groups: list[str] | None = None):
    right = torch.ones(n, EXITS, dtype=torch.bool)
    scores = torch.linspace(0.5, 1, n)[:, None].expand(n, EXITS)
    grid = threshold_grid("confidence", EXITS)
    return certify(
        scores, right, right[:, -1], groups or [""] * n, epsilon, DELTA, grid, 0,
        "experiments.early_exit.targets.risk[0].epsilon",
    )  # fmt: skip


@pytest.mark.parametrize("epsilon", [0.01, 0.05])
def test_as_few_images_as_it_takes(epsilon):
    needed = minimum_groups(epsilon, DELTA)
    certificate = certify_harmless(needed, epsilon)
    assert (certificate.threshold, certificate.loss, certificate.note) == (0.0, 0.0, "")
    assert certificate.n == needed
    assert certificate.p_value <= DELTA
    with pytest.raises(DataError) as caught:
        certify_harmless(needed - 1, epsilon)
    assert str(caught.value) == (
        f"experiments.early_exit.targets.risk[0].epsilon: {epsilon:g} cannot be shown with "
        f"{needed - 1} certifying images: at least {needed} are needed; "
        f"write epsilon: {epsilon + 0.01:g}"
    )


def test_images_of_a_group_count_once():
    n, epsilon = 100, 0.1
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(n, EXITS, generator=generator)
    right = torch.rand(n, EXITS, generator=generator) > torch.linspace(0.2, 0, EXITS)
    grid = threshold_grid("confidence", EXITS)
    alone = certify(scores, right, right[:, -1], [""] * n, epsilon, DELTA, grid, 0)
    drawn = [part.repeat_interleave(8, dim=0) for part in (scores, right, right[:, -1])]
    groups = [f"digit{k // 8}" for k in range(8 * n)]
    grouped = certify(*drawn, groups, epsilon, DELTA, grid, 0)
    assert 0 < alone.threshold < 1
    assert grouped == alone
    many = certify(*drawn, [""] * 8 * n, epsilon, DELTA, grid, 0)
    assert many.threshold < alone.threshold
    needed = minimum_groups(epsilon, DELTA)
    few = [f"digit{k % (needed - 1)}" for k in range(n)]
    with pytest.raises(DataError, match=f"with {needed - 1} groups of certifying images"):
        certify_harmless(n, epsilon, few)


def test_it_falls_back_to_the_full_model_and_says_why():
    n = 400
    wrong_but_last = torch.zeros(n, EXITS, dtype=torch.bool)
    wrong_but_last[:, -1] = True
    scores, grid = torch.ones(n, EXITS), threshold_grid("confidence", EXITS)
    found = certify(scores, wrong_but_last, wrong_but_last[:, -1], [""] * n, 0.02, DELTA, grid, 0)
    assert (found.threshold, found.p_value, found.loss) == (NEVER, 1.0, 1.0)
    assert found.note == (
        "a drop of at most 0.02 could not be shown on 400 certifying images even for the most "
        "careful early exits (drop there 1.0000, p = 1 > 0.1): the full model is used"
    )
    unsure = certify(
        scores * 0, wrong_but_last, wrong_but_last[:, -1], [""] * n, 0.02, DELTA, grid[:-1], 0
    )
    assert unsure.threshold == NEVER
    assert unsure.note.startswith("no image leaves early at any threshold")


@pytest.mark.parametrize("criterion", CRITERIA)
def test_the_grid_goes_from_careful_to_always(criterion):
    grid = threshold_grid(criterion, EXITS)
    assert grid == sorted(set(grid), reverse=True)
    assert (grid[0], grid[-1]) == (5, 2) if criterion == "patience" else grid[-1] == 0
    assert criterion == "patience" or 0.99999 < grid[0] < 1


def test_the_same_seed_gives_the_same_certificate():
    pool = make_pool("margin", 500)
    assert pool.certified(300, seed=3) == pool.certified(300, seed=3)
