"""Early exits with risk control: at most epsilon below the full model, with probability 1 - delta.

Learn then Test (Angelopoulos et al. 2025, "Learn then Test: calibrating predictive algorithms to
achieve risk control", section 3.2: fixed-sequence testing). Thresholds of a grid that was fixed
before any image was seen are tested from the most careful on, until one cannot be shown to be
safe; the last that could is certified. Early exits under risk control: Jazbec et al. 2024 ("Fast
yet safe"), whose performance gap risk is the loss here.

The loss of an image is [full model right] - [early answer right], in {-1, 0, 1}. Images of one
group (drawings of one scan, say) are not independent: a group counts once, with its mean.
Calibration and later groups are taken to be drawn alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from frugalvit.evaluation.promises import p_value, unit_numbers
from frugalvit.methods.early_exit.criteria import LEAST_PATIENCE, first_exits
from frugalvit.methods.early_exit.enough import check_epsilon
from frugalvit.operating_point import NEVER

GRID_STEPS = 200
SUREST, LEAST_SURE = 14.0, -6.0  # logits of the scores between which the grid lies


@dataclass(frozen=True)
class Certificate:
    """A threshold, and what was shown of it.

    `threshold` is `NEVER` where nothing could be shown; `note` then says so in words, and
    `p_value` and `loss` are those of the first threshold that failed. `loss` is the mean over
    `n` groups (images, where there are no groups).
    """

    threshold: float
    epsilon: float
    delta: float
    n: int
    p_value: float
    loss: float
    note: str


def threshold_grid(criterion: str, exits: int) -> list[float]:
    """Thresholds from careful to always leaving, whatever the data.

    Evenly spaced in the logit of the score, because scores crowd near 1; whole numbers for
    `patience`.
    """
    if criterion == "patience":
        return [float(count) for count in range(exits - 1, LEAST_PATIENCE - 1, -1)]
    logits = np.linspace(SUREST, LEAST_SURE, GRID_STEPS)
    return [*(1 / (1 + np.exp(-logits))).tolist(), 0.0]


def certify(
    scores: Tensor,
    right: Tensor,
    full_right: Tensor,
    groups: Sequence[str],
    epsilon: float,
    delta: float,
    grid: Sequence[float],
    seed: int,
    key: str = "epsilon",
) -> Certificate:
    """The cheapest threshold of a grid that is shown to lose at most `epsilon`.

    With probability at least 1 - `delta` over the draw of the images given here, the accuracy
    that the certified threshold loses against the full model, in expectation over a new group, is
    at most `epsilon`. Neither temperatures nor `grid` may have been made with these images.

    Args:
        scores: `[images, exits]`.
        right: whether the criterion's answer at each exit is right, `[images, exits]`.
        full_right: whether the plain model's answer is, `[images]`.
        groups: the group of each image; empty for an image on its own.
        epsilon: largest drop of accuracy; 0.01 is one point.
        delta: probability that the promise fails.
        grid: descending, from `threshold_grid`.
        seed: of the order in which groups are bet on.
        key: of epsilon in the configuration, for messages.

    Raises:
        TooFewImages: so few groups could not show `epsilon` even if none lost anything.
    """
    units = np.array(unit_numbers(groups))
    n = int(units.max(initial=-1)) + 1
    kind = check_epsilon(groups, epsilon, delta, key)
    order = np.random.default_rng(seed).permutation(n)
    sizes = np.bincount(units, minlength=n)

    def group_losses(exits: Tensor) -> np.ndarray:
        answered = right.gather(1, exits[:, None]).squeeze(1)
        loss = full_right.cpu().numpy().astype(float) - answered.cpu().numpy().astype(float)
        return np.bincount(units, weights=loss, minlength=n) / sizes

    certified = failed = None
    for threshold in grid:
        exits = first_exits(scores, threshold)
        losses = group_losses(exits)
        tested = (threshold, p_value(losses[order], epsilon), float(losses.mean()))
        if tested[1] > delta:
            failed = tested
            break
        if bool((exits < scores.shape[1] - 1).any()):
            certified = tested
    if certified is not None:
        return Certificate(certified[0], epsilon, delta, n, certified[1], certified[2], "")
    return _full_model(epsilon, delta, n, kind, failed)


def _full_model(
    epsilon: float,
    delta: float,
    n: int,
    kind: str,
    failed: tuple[float, float, float] | None,
) -> Certificate:
    if failed is None:
        note = f"no image leaves early at any threshold on {n} {kind}: the full model is used"
        return Certificate(NEVER, epsilon, delta, n, 1.0, 0.0, note)
    _, p, loss = failed
    note = (
        f"a drop of at most {epsilon:g} could not be shown on {n} {kind} even for the most careful "
        f"early exits (drop there {loss:.4f}, p = {p:.2g} > {delta:g}): the full model is used"
    )
    return Certificate(NEVER, epsilon, delta, n, p, loss, note)
