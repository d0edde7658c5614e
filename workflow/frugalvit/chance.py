"""What a number of images can show: intervals of an accuracy, and experiments compared by image."""

import math

FEW_TEST, FEW_OTHERS = 100, 50  # images of a split below which it is called small
FEW_OF_CLASS = 5  # and images of a class, where it trains or tests
# Two experiments that disagree on fewer images are never told apart, whoever is right: the sign
# test of five to none has p = 0.06, of six to none 0.03.
FEWEST_APART = 6
_Z = 1.959963984540054  # 97.5 % of a standard normal distribution


def interval(accuracy: float, n: int) -> tuple[float, float]:
    """95 % interval of an accuracy measured on `n` independent images (Wilson 1927).

    Args:
        accuracy: 0 to 1.
        n: at least 1.

    Returns:
        Lower and upper end, 0 to 1. Unlike accuracy ± 1.96 standard errors it is right for few
        images and near 0 and 1 (Brown, Cai and DasGupta 2001).
    """
    middle = (accuracy + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z * math.sqrt(accuracy * (1 - accuracy) / n + _Z**2 / (4 * n**2)) / (1 + _Z**2 / n)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def interval_text(accuracy: float, n: int) -> str:
    """The interval in percent: '49 to 94'; with a decimal where it is less than 10 points wide."""
    low, high = (100 * end for end in interval(accuracy, n))
    digits = 0 if high - low >= 10 else 1
    return f"{low:.{digits}f} to {high:.{digits}f}"


def sign_test(won: int, lost: int) -> float:
    """Two-sided p of the exact sign test: how surely `won` images against `lost` are no chance.

    On right and wrong answers of two models it is the exact test of McNemar (1947).
    """
    if won == lost:
        return 1.0
    n, fewer = won + lost, min(won, lost)
    return min(2 * sum(math.comb(n, k) for k in range(fewer + 1)) / 2**n, 1.0)


def few_images(split: str, n: int) -> str:
    """What `n` images of a split cannot show, in one sentence; empty where they are enough.

    Args:
        split: train, valid, calibration or test.
        n: number of its images; of none nothing is said.
    """
    if not 0 < n < (FEW_TEST if split == "test" else FEW_OTHERS):
        return ""
    if split == "test":
        if n < FEWEST_APART:
            apart = "no difference between two experiments can be shown"
        else:
            apart = (
                f"two experiments that differ by fewer than {FEWEST_APART} images "
                f"({100 * FEWEST_APART / n:.0f} points) are not told apart"
            )
        return (
            f"one is {100 / n:.3g} points of accuracy; 80 % on them may be {interval_text(0.8, n)} % on "
            f"others like them (95 %); {apart}"
        )
    if split == "valid":
        return (
            f"one is {100 / n:.3g} points of accuracy, too coarse to choose an epoch or a setting by "
            "(training.keep: last chooses no epoch)"
        )
    if split == "calibration":
        return "too few for a threshold that holds on other images"
    return (
        "others in their place may train another model, which the spread over seeds does not show "
        "(another splits.seed does)"
    )


def chance_text(accuracy: float, n: int) -> str:
    """What `n` test images can show of an accuracy, for the notes of a figure."""
    text = (
        f"{100 * accuracy:.1f} % on {n:,} test images may be {interval_text(accuracy, n)} % on others "
        "like them (95 %)"
    )
    if n < FEW_TEST:
        text += f"; one image is {100 / n:.3g} points, and differences of fewer than {FEWEST_APART}"
        text += " images are not told apart"
    return text + "."
