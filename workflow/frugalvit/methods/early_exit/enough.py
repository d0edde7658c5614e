"""How many calibration images thresholds and promises need; no torch, so that it is asked early."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from frugalvit.errors import DataError
from frugalvit.evaluation.promises import minimum_groups, too_few, unit_numbers

if TYPE_CHECKING:
    from frugalvit.data.division import Division

MINIMUM_IMAGES = 50
MINIMUM_FITTING = 20  # of them, to fit one number an exit
MOST_TAKEN = (
    0.6  # of the images that also train or validate, where we say how many should calibrate
)
_SHARES = [n / 20 for n in range(1, 20)]
_MORE = "raise splits.calibration.fraction or add images"


class TooFewImages(DataError):
    """Calibration images are too few for what is asked of them.

    Attributes:
        problem: what is asked, and how many there are.
        remedy: what to do.
    """

    def __init__(self, problem: str, remedy: str = _MORE):
        super().__init__(f"{problem}; {remedy}")
        self.problem, self.remedy = problem, remedy


def split_calibration(
    groups: Sequence[str], certify: float, seed: int
) -> tuple[list[int], list[int]]:
    """Divide calibration images: some fit temperatures, the others certify risk.

    A certificate needs images that had no part in what it certifies. Groups stay whole.

    Args:
        groups: the group of each image; empty for an image on its own.
        certify: share of the groups that certify, from 0 to below 1.
        seed: of the draw.

    Returns:
        Ascending positions of the images that fit, and of those that certify.

    Raises:
        TooFewImages: fewer than `MINIMUM_IMAGES` images, fewer than `MINIMUM_FITTING` to fit, or
            too few groups for two parts.
    """
    if len(groups) < MINIMUM_IMAGES:
        raise TooFewImages(
            f"splits.calibration.fraction: gives {len(groups)} calibration images, but at least "
            f"{MINIMUM_IMAGES} are needed"
        )
    units = np.array(unit_numbers(groups))
    count = int(units.max()) + 1
    certifying = round(certify * count)
    if certifying == count or (certify > 0 and certifying == 0):
        raise TooFewImages(
            f"splits.calibration.fraction: gives {count} group{'s' * (count > 1)} of calibration "
            f"images, too few to set {certify:g} of them apart for the risk guarantee"
        )
    chosen = np.random.default_rng(seed).permutation(count)[:certifying]
    certifies = np.isin(units, chosen)
    if (fitting := int((~certifies).sum())) < MINIMUM_FITTING:
        raise TooFewImages(
            f"splits.calibration.fraction: leaves {fitting} of {len(groups)} calibration images to "
            f"fit temperatures, but at least {MINIMUM_FITTING} are needed",
            f"lower calibration.certify, {_MORE}",
        )
    return np.flatnonzero(~certifies).tolist(), np.flatnonzero(certifies).tolist()


def kept_apart(
    groups: Sequence[str], how: dict[str, Any], abstain: dict[str, float] | None
) -> tuple[list[int], list[int]]:
    """Divide calibration images: some make temperatures and thresholds, the others when to abstain.

    Groups stay whole.

    Args:
        groups: the group of each image; empty for an image on its own.
        how: the experiment's `evaluation`.
        abstain: what the study asks, `risk` and `delta`; where None, none are kept apart.

    Returns:
        Ascending positions of the images of either part.
    """
    if abstain is None:
        return list(range(len(groups))), []
    units = np.array(unit_numbers(groups), dtype=int)
    count = int(units.max(initial=-1)) + 1
    order = np.random.default_rng(how["calibration"]["seed"]).permutation(count)
    apart = np.isin(units, order[: round(how["calibration"]["abstain"] * count)])
    return np.flatnonzero(~apart).tolist(), np.flatnonzero(apart).tolist()


def check_epsilon(groups: Sequence[str], epsilon: float, delta: float, key: str) -> str:
    """Refuse an epsilon that these images could not show even if none lost anything.

    Args:
        groups: of the certifying images, as `risk.certify` takes them.
        epsilon: largest drop of accuracy.
        delta: probability that the promise fails.
        key: of epsilon in the configuration, for the message.

    Returns:
        What is counted, in words.

    Raises:
        TooFewImages: the remedy names the least epsilon, in whole points, that they could show.
    """
    n = len(set(unit_numbers(groups)))
    kind = "groups of certifying images" if n < len(groups) else "certifying images"
    needed = minimum_groups(epsilon, delta)
    if n < needed:
        points = range(math.ceil(100 * epsilon), 100)
        shown = next((p / 100 for p in points if minimum_groups(p / 100, delta) <= n), None)
        raise TooFewImages(
            f"{key}: {epsilon:g} cannot be shown with {n} {kind}: at least {needed} are needed",
            f"write epsilon: {shown:g}" if shown else _MORE,
        )
    return kind


def certify_share(how: dict[str, Any]) -> float:
    """Nothing is kept apart for a promise that nobody asked for."""
    return how["calibration"]["certify"] if how["targets"]["risk"] else 0.0


def risk_key(at: str, index: int) -> str:
    """Key of a promise's epsilon."""
    return f"{at}.targets.risk[{index}].epsilon"


def check_targets(
    at: str,
    how: dict[str, Any],
    groups: Sequence[str],
    abstain: dict[str, float] | None = None,
) -> None:
    """Refuse targets that these calibration images could never show.

    Args:
        at: key of the experiment.
        how: its `evaluation`.
        groups: of the calibration images, as `split_calibration` takes them.
        abstain: what the study's `evaluation.abstain` asks.

    Raises:
        TooFewImages: too few of them, or too small an epsilon.
    """
    making, apart = kept_apart(groups, how, abstain)
    if abstain and (told := too_few([groups[place] for place in apart], abstain)):
        problem, remedy = told.split("; ", 1)
        where = f"write {at}.calibration.abstain larger, {remedy}"
        raise TooFewImages(f"{problem} ({at} keeps them apart)", where)
    groups = [groups[place] for place in making]
    _, certifying = split_calibration(groups, certify_share(how), how["calibration"]["seed"])
    kept = [groups[place] for place in certifying]
    for index, target in enumerate(how["targets"]["risk"]):
        check_epsilon(kept, target["epsilon"], target["delta"], risk_key(at, index))


def check_images(at: str, how: dict[str, Any], options: dict[str, Any], images: "Division") -> None:
    """Refuse what the study's own calibration images could never show; see `Method.check_images`.

    Raises:
        TooFewImages: the remedy names a setting that works with these images, tried here.
    """
    abstain = options.get("abstain")
    try:
        check_targets(at, how, images.groups("calibration"), abstain)
    except TooFewImages as error:
        ways = list(_ways(at, how, error, images, abstain))
        nothing = f"add images, or leave {at} out"
        raise TooFewImages(error.problem, ", or ".join(ways) or nothing) from None


def _ways(
    at: str,
    how: dict[str, Any],
    error: TooFewImages,
    images: "Division",
    abstain: dict[str, float] | None,
) -> Iterator[str]:
    """Settings that work with these images: less asked, other shares of them, more of them."""
    if error.remedy.startswith("write epsilon"):
        yield error.remedy
    groups = images.groups("calibration")
    if share := _other_share(at, how, groups, abstain, "certify"):
        yield f"write {at}.calibration.certify: {share:g}"
    if abstain and (share := _other_share(at, how, groups, abstain, "abstain")):
        yield f"write {at}.calibration.abstain: {share:g}"
    if abstain and (risk := _other_risk(at, how, groups, abstain)):
        yield f"write evaluation.abstain.risk: {risk:g}"
    own = images.splits["calibration"]["from"]
    calibrations = [
        {"calibration": {"from": name, "fraction": share}}
        for name in (own, *{"train", "valid"} - {own})
        for share in _SHARES
        if share <= MOST_TAKEN
    ]

    def enough(other: "Division") -> None:
        check_targets(at, how, other.groups("calibration"), abstain)

    if found := images.first_that(calibrations, enough):
        taken = found["calibration"]
        words = f"{{from: {taken['from']}, fraction: {taken['fraction']:g}}}"
        yield f"write {images.key}.calibration: {words}"


def _other_share(
    at: str,
    how: dict[str, Any],
    groups: Sequence[str],
    abstain: dict[str, float] | None,
    key: str,
) -> float | None:
    """The share of calibration images nearest to the one asked for that shows all promises.

    `key` is which of the two shares.
    """
    asked = how["calibration"]
    for share in sorted(_SHARES, key=lambda share: abs(share - asked[key])):
        changed = how | {"calibration": asked | {key: share}}
        try:
            check_targets(at, changed, groups, abstain)
        except TooFewImages:
            continue
        return share if key == "abstain" or certify_share(how) else None
    return None


def _other_risk(
    at: str, how: dict[str, Any], groups: Sequence[str], abstain: dict[str, float]
) -> float | None:
    """The least larger risk of answers, in whole points, that these images could show."""
    for points in range(math.ceil(100 * abstain["risk"]), 100):
        try:
            check_targets(at, how, groups, abstain | {"risk": points / 100})
        except TooFewImages:
            continue
        return points / 100
    return None
