"""What images can promise of others like them: evidence that an expected loss is small; no torch.

Learn then Test (Angelopoulos et al. 2025) turns such evidence into thresholds: those of a sequence that
was fixed before any of these images was seen are tested one after the other, each at level delta,
until one fails. The others hold with probability 1 - delta (section 3.2, fixed-sequence testing).
"""

import math
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

# Bets, as shares of the largest that cannot lose more than everything. The whole needs the fewest
# images where nothing is lost at all; the smaller ones survive the losses that epsilon allows.
STAKES = np.array([0.2, 0.4, 0.6, 0.8, 1.0])
CALIBRATION = "calibration"  # the split whose images promise
ABSTAIN = "evaluation.abstain.risk"  # key of the share of wrong answers that is promised


def unit_numbers(groups: Sequence[str]) -> list[int]:
    """The unit of each image: images of one group share a unit, an image without one is its own."""
    seen: dict[str | int, int] = {}
    return [seen.setdefault(group or position, len(seen)) for position, group in enumerate(groups)]


def minimum_groups(epsilon: float, delta: float) -> int:
    """Fewest groups that show `epsilon` at `delta` when not one of them loses anything."""

    growth = 1 + STAKES * epsilon / (1 - epsilon)
    enough = math.ceil(math.log(len(STAKES) / delta) / math.log(growth.max()))  # by one gambler
    return bisect_left(
        range(enough), 1 / delta, lo=1, key=lambda n: float(np.mean(growth**n)) * (1 + 1e-12)
    )


def p_value(losses: np.ndarray, epsilon: float) -> float:
    """Evidence against "the expected loss exceeds `epsilon`", from losses in [-1, 1].

    Betting (Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by
    betting"): a gambler who stakes the share `stake / (1 - epsilon)` on each loss staying under
    epsilon holds the capital `prod(1 + stake / (1 - epsilon) * (epsilon - loss))`. If the expected
    loss is epsilon or more, this is a non-negative supermartingale from 1, and so is the mean of
    several such gamblers: by Ville's inequality it ever exceeds 1 / p with probability at most p.

    Args:
        losses: `[groups]`, in an order that does not depend on them.
        epsilon: in (0, 1).
    """
    with np.errstate(divide="ignore"):
        gains = np.log1p(
            np.maximum(STAKES[:, None] / (1 - epsilon) * (epsilon - losses[None]), -1.0)
        )
    capital = np.logaddexp.reduce(gains.cumsum(axis=1), axis=0) - math.log(len(STAKES))
    return min(1.0, math.exp(-max(0.0, capital.max(initial=0.0))))


def fewest(risk: float, delta: float, grouped: bool) -> int:
    """Fewest images, or groups, that show `risk` where all are answered and none is wrong."""
    return (
        minimum_groups(risk, delta) if grouped else math.ceil(math.log(delta) / math.log1p(-risk))
    )


def too_few(groups: Sequence[str], how: dict[str, float]) -> str:
    """What is wrong with so few calibration images, and the remedy; empty where they may suffice.

    Args:
        groups: of calibration images; empty for an image on its own.
        how: `risk` and `delta`.
    """
    n = len(set(unit_numbers(groups)))
    grouped = n < len(groups)
    needed = fewest(how["risk"], how["delta"], grouped)
    if n >= needed:
        return ""
    kind = "groups of calibration images" if grouped else "calibration images"
    points = range(math.ceil(100 * how["risk"]), 100)
    shown = next((p for p in points if fewest(p / 100, how["delta"], grouped) <= n), None)
    remedy = f"write risk: {shown / 100:g}, or " if shown else ""
    return (
        f"{ABSTAIN}: {how['risk']:g} cannot be shown with {n} {kind}, be every answer right: at least "
        f"{needed} are needed; {remedy}raise splits.calibration.fraction or add images"
    )
