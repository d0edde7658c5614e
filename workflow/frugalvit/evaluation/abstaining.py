"""When to say "unsure": the threshold of confidence under which a model abstains; no torch.

The promise is on the selective risk (El-Yaniv and Wiener 2010): of the images that are answered, those
whose confidence reaches the threshold t, at most `risk` are answered wrong,

    R(t) = P(wrong | confidence >= t) <= risk, with probability at least 1 - delta

over the draw of the calibration images. Learn then Test (`promises`) with fixed-sequence testing:

1. Validation images make the sequence. Of thresholds that answer 2, 4, ..., 100 % of them it begins
   where they show most themselves, `coverage * KL(share wrong || risk)` (the exponent of Chernoff's
   bound), and goes on to ever more answers. The strictest would be a bad beginning: it answers so few
   images that they show nothing.
2. Calibration images test "R(t) > risk" for each in turn. Of m that are answered k are wrong, and under
   the hypothesis k is no smaller than a binomial number of m draws: `p = P(Binomial(m, risk) <= k)`.
   From p > delta on nothing more is tested; the last threshold before it is used.

Images of one group (drawings of one scan) are not independent. Where there are groups p is that of
betting (`promises.p_value`) on the mean over a group of [answered] * ([wrong] - risk): the promise is
then on new groups, each of which counts once.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import rel_entr
from scipy.stats import binom

from frugalvit.chance import interval
from frugalvit.evaluation.promises import CALIBRATION, p_value, unit_numbers
from frugalvit.operating_point import NEVER, is_chosen, point_of

log = logging.getLogger(__name__)

SURE = "abstain.json"  # of a run's folder
STEPS = 50
COLUMNS = [
    "experiment", "run", "seed", "method", "point", "risk", "delta", "threshold", "n_calibration",
    "units", "answered_calibration", "wrong_calibration", "p_value", "n", "answered", "wrong",
    "coverage", "coverage_low", "coverage_high", "accuracy", "selective_accuracy", "selective_low",
    "selective_high", "note",
]  # fmt: skip


@dataclass(frozen=True)
class Abstention:
    """A threshold of confidence, and what calibration images show of it.

    `threshold` is `NEVER` where nothing can be answered; `answered`, `wrong` and `p_value` are then
    those of the threshold that was tried, and `note` says why it failed.
    """

    threshold: float
    risk: float
    delta: float
    n: int  # calibration images
    units: int  # of them, or of their groups
    answered: int
    wrong: int
    p_value: float
    note: str


def answered(confidence: np.ndarray, threshold: float) -> np.ndarray:
    """Whether each image is answered."""
    return confidence >= threshold


def sequence(confidence: np.ndarray, right: np.ndarray, risk: float) -> list[float]:
    """Thresholds to test, from where these images themselves show most to answering everything.

    A threshold lies between two confidences, so that rounding turns no answer.

    Args:
        confidence: of validation images, `[images]`.
        right: whether each is answered right, `[images]`.
        risk: share of wrong answers that is allowed.
    """
    values, places = np.unique(-confidence, return_inverse=True)
    counts = np.bincount(places).cumsum()  # answered down to each value, the surest first
    wrong = np.bincount(places, weights=~right).cumsum()
    values = -values
    asked = np.arange(1, STEPS + 1) * len(confidence) / STEPS
    kept = np.unique(np.searchsorted(counts, asked - 1e-9))
    shares = wrong[kept] / counts[kept]
    divergence = rel_entr(shares, risk) + rel_entr(1 - shares, 1 - risk)
    shown = counts[kept] * divergence * np.sign(risk - shares)
    first = len(shown) - 1 - int(shown[::-1].argmax())
    following = np.append((values[:-1] + values[1:]) / 2, 0.0)
    return following[kept[first:]].tolist()


def evidence(
    sure: np.ndarray, right: np.ndarray, units: np.ndarray, risk: float, seed: int = 0
) -> float:
    """Against "more than `risk` of the answers are wrong": a p-value, see the module.

    Args:
        sure: whether each image is answered, `[images]`.
        right: whether its answer is right, `[images]`.
        units: number of the group of each, from 0, `[images]`.
        risk: share of wrong answers that is allowed.
        seed: of the order in which groups are bet on.
    """
    if len(units) == int(units.max(initial=-1)) + 1:
        return float(binom.cdf((sure & ~right).sum(), sure.sum(), risk))
    # An image that is not answered is no bet: its loss is just what is allowed.
    losses = np.where(sure, (~right).astype(float), risk)
    means = np.bincount(units, weights=losses) / np.bincount(units)
    return p_value(np.random.default_rng(seed).permutation(means), risk)


def fit(
    valid: tuple[np.ndarray, np.ndarray],
    calibration: tuple[np.ndarray, np.ndarray],
    groups: Sequence[str],
    risk: float,
    delta: float,
) -> Abstention:
    """The threshold that answers most images of those shown to keep the promise.

    Args:
        valid: confidence and whether right of validation images, each `[images]`, which no promise
            rests on.
        calibration: of calibration images; nothing that the answers depend on was made with them.
        groups: of calibration images; empty for an image on its own.
        risk: share of wrong answers that is allowed.
        delta: probability that the promise fails.
    """
    confidence, right = calibration
    units = np.array(unit_numbers(groups), dtype=int)
    shown = failed = None
    for threshold in sequence(*valid, risk):
        sure = answered(confidence, threshold)
        p = evidence(sure, right, units, risk)
        tried = (int(sure.sum()), int((sure & ~right).sum()), p)
        if p > delta:
            failed = tried
            break
        shown = (threshold, *tried)
    count = int(units.max(initial=-1)) + 1
    about = (risk, delta, len(units), count)
    of = f"{len(units)} calibration images"
    of += f" in {count} groups" if count < len(units) else ""
    if shown is not None:
        said = (
            f"at most {100 * risk:g} % of the answers wrong with probability {100 * (1 - delta):g} %, "
            f"shown on {of}: {shown[1]} answered, {shown[2]} wrong (p = {shown[3]:.2g})"
        )
        return Abstention(shown[0], *about, *shown[1:], said)
    assert failed is not None, "a sequence has a threshold"
    said = (
        f"answers nothing: at most {100 * risk:g} % wrong could not be shown on {of}, not even of the "
        f"{failed[0]} where it is surest ({failed[1]} wrong, p = {failed[2]:.2g} > {delta:g})"
    )
    return Abstention(NEVER, *about, *failed, said)


def fit_run(
    predictions: pd.DataFrame, group_of: pd.Series, how: dict[str, float]
) -> dict[str, Any]:
    """A run's threshold, and what comes of it on test images.

    Args:
        predictions: `id, split, label, predicted, probability`, of validation, calibration and test
            images.
        group_of: the group of an image by its id.
        how: `risk` and `delta`.

    Returns:
        Of `COLUMNS` those from `risk` on. Intervals are of 95 % (Wilson); what has
        no meaning where nothing is answered is None.
    """
    parts = dict(iter(predictions.groupby("split")))
    told = {
        split: (own["probability"].to_numpy(), (own["label"] == own["predicted"]).to_numpy())
        for split, own in parts.items()
    }
    groups = group_of.loc[parts[CALIBRATION]["id"]].fillna("").tolist()
    found = fit(told["valid"], told[CALIBRATION], groups, how["risk"], how["delta"])
    confidence, right = told["test"]
    sure = answered(confidence, found.threshold)
    n, count, correct = len(sure), int(sure.sum()), int((sure & right).sum())
    share = correct / count if count else None
    selective = (None, None) if share is None else interval(share, count)
    return {
        "risk": found.risk,
        "delta": found.delta,
        "threshold": None if found.threshold == NEVER else found.threshold,
        "n_calibration": found.n,
        "units": found.units,
        "answered_calibration": found.answered if found.threshold != NEVER else 0,
        "wrong_calibration": found.wrong if found.threshold != NEVER else 0,
        "p_value": found.p_value,
        "n": n,
        "answered": count,
        "wrong": count - correct,
        "coverage": count / n,
        **dict(zip(("coverage_low", "coverage_high"), interval(count / n, n))),
        "accuracy": float(right.mean()),
        "selective_accuracy": share,
        **dict(zip(("selective_low", "selective_high"), selective)),
        "note": found.note,
    }


def with_abstention(summary: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """The summary with `coverage` and `selective_accuracy` in the rows of test images."""
    columns = ["run", "coverage", "selective_accuracy"]
    return summary.merge(table[columns].assign(split="test"), on=["run", "split"], how="left")


def abstentions(
    runs: Iterable[Mapping[str, Any]],
    predictions: Mapping[str, pd.DataFrame],
    points: pd.DataFrame,
    group_of: pd.Series,
    risk: float,
    delta: float,
) -> tuple[pd.DataFrame, dict[str, dict[str, Any]]]:
    """When each run says "unsure": a row of `COLUMNS` each, and what `SURE` holds.

    Args:
        runs: each `run, experiment, seed, method`.
        predictions: of each run, as `fit_run` takes them.
        points: operating points of all adaptive runs; answers are those of the chosen one.
        group_of: the group of an image by its id.
        risk: share of wrong answers that is allowed.
        delta: probability that the promise fails.
    """
    chosen = points[is_chosen(points)].drop_duplicates("run")
    used = {row["run"]: point_of(row).name for row in chosen.to_dict("records")}
    rows, records = [], {}
    for run in runs:
        found = fit_run(predictions[run["run"]], group_of, {"risk": risk, "delta": delta})
        named = {key: run[key] for key in ("experiment", "run", "seed", "method")}
        row = named | {"point": used.get(run["run"])} | found
        rows.append(row)
        log.info("%s: %s", run["run"], row["note"])
        kept = ("point", "risk", "delta", "threshold", "coverage", "selective_accuracy", "note")
        records[run["run"]] = {key: row[key] for key in kept}
    return pd.DataFrame(rows, columns=COLUMNS), records
