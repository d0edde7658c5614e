"""Which model to take: the cheapest that meets a study's target, chosen on validation images.

The test images take no part in the choice: they say what came of it, with a paired interval against the
most accurate model. Where the validation images cannot tell two apart, the cheaper one is taken.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

from frugalvit.chance import interval
from frugalvit.evaluation.answer_words import cost_text, lines
from frugalvit.operating_point import FULL, is_chosen, points_of
from frugalvit.words import ANSWER, MOST_ACCURATE

CANDIDATE = ["experiment", "method", "setting", "value"]
COSTS = ("gflops", "latency_ms", "images_per_s", "params_m")
COLUMNS = [
    *CANDIDATE, "name", "in_use", "seeds", "n_valid", "valid_accuracy", "n", "accuracy", "accuracy_sd",
    *COSTS, "plain_latency_ms", "plain_images_per_s", "ranked", "frontier", "meets", "status", "note",
    "said",
]  # fmt: skip
_EQUAL = 1e-9
_RESAMPLES = 4000


@dataclass(frozen=True)
class Target:
    """What a user asks of a model."""

    key: str  # drop, latency_ms or images_per_s
    value: float

    @property
    def words(self) -> str:
        """'at most 20 ms an image'."""
        if self.key == "latency_ms":
            return f"at most {self.value:g} ms for one image"
        if self.key == "images_per_s":
            return f"at least {self.value:g} images a second"
        points = f"{100 * self.value:g} point" + ("" if self.value == 0.01 else "s")
        return f"at most {points} less accurate than the most accurate model"

    @property
    def cost(self) -> str:
        """The column by which a model is cheaper than another."""
        return "images_per_s" if self.key == "images_per_s" else "latency_ms"

    def cheapness(self, table: pd.DataFrame) -> pd.Series:
        """The smaller, the cheaper."""
        return table[self.cost] * (-1 if self.cost == "images_per_s" else 1)


def candidates(
    summary: pd.DataFrame,
    points: pd.DataFrame,
    experiments: Mapping[str, Sequence[str]],
    masked: Mapping[str, Sequence[str]],
) -> pd.DataFrame:
    """One row a plain experiment or operating point: means over seeds, as `COLUMNS` names them.

    Args:
        summary: rows of `summary.csv`.
        points: rows of `operating_points.csv`.
        experiments: that are tested on the same images -> their runs, without those of searches.
        masked: method -> settings that compute what another point leaves out.
    """
    runs = [run for own in experiments.values() for run in own]
    plain = summary[summary["run"].isin(runs) & ~summary["experiment"].isin(points["experiment"])]
    plain = plain.assign(setting="", value=np.nan, name=plain["experiment"], in_use=True)
    own = points[points["experiment"].isin(list(experiments))]
    left_out = [row.setting in masked.get(row.method, ()) for row in own.itertuples()]
    own = own[~np.array(left_out, dtype=bool)]
    names = [f"{row} ({point.name})" for row, point in zip(own["experiment"], points_of(own))]
    own = own.assign(name=names, in_use=is_chosen(own))
    columns = [*CANDIDATE, "name", "in_use", "run", "seed", "split", "n", "accuracy", *COSTS]
    parts = [part[columns] for part in (plain, own) if len(part)]
    rows = []
    for key, group in pd.concat(parts).groupby(CANDIDATE, dropna=False, sort=False):
        valid, test = (group[group["split"] == split] for split in ("valid", "test"))
        if test.empty or valid.empty:
            continue
        rows.append(
            {
                **dict(zip(CANDIDATE, key)),
                "name": group["name"].iloc[0],
                "in_use": bool(group["in_use"].iloc[0]),
                "seeds": " ".join(map(str, sorted(test["seed"]))),
                "n_valid": int(valid["n"].iloc[0]),
                "valid_accuracy": valid["accuracy"].mean(),
                "n": int(test["n"].iloc[0]),
                "accuracy": test["accuracy"].mean(),
                "accuracy_sd": test["accuracy"].std(),
                **test[list(COSTS)].astype(float).mean(),
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def plain_costs(
    costs: Mapping[str, pd.DataFrame], runs: Sequence[str], throughput_batch: int
) -> dict[str, float]:
    """Mean measured cost of the plain network of some runs, as it was timed beside them."""
    tables = [costs[run] for run in runs if run in costs]
    full = pd.concat([table[table["model"] == FULL] for table in tables]) if tables else None
    if full is None or full.empty:
        return {"plain_latency_ms": np.nan, "plain_images_per_s": np.nan}
    batched = full[full["batch_size"] == throughput_batch]
    return {
        "plain_latency_ms": full.loc[full["batch_size"] == 1, "latency_ms"].mean(),
        "plain_images_per_s": batched["images_per_s"].mean(),
    }


def difference(
    one: pd.Series, other: pd.Series, split: str, right: pd.DataFrame
) -> tuple[float, float, float, bool]:
    """Accuracy of one candidate less another's, its 95 % interval, and whether that is of pairs.

    Of points in use the same images are compared (bootstrap over images of the mean over the seeds that
    both have); of others no answers are kept, and the interval is that of two independent samples
    (Newcombe 1998, of Wilson's).

    Args:
        one: a row of `candidates`.
        other: another.
        split: of the images.
        right: whether each run is right, a row an image, a column a run (`correctness`).
    """
    seeds = [seed for seed in one["seeds"].split() if seed in other["seeds"].split()]
    runs = [[f"{each['experiment']}-s{seed}" for seed in seeds] for each in (one, other)]
    kept = all(each["in_use"] for each in (one, other)) and {*runs[0], *runs[1]} <= {*right.columns}
    if seeds and kept:
        pairs = (right[runs[0]].mean(axis=1) - right[runs[1]].mean(axis=1)).dropna().to_numpy()
        if len(pairs) and np.ptp(pairs) > 0:
            found = bootstrap(
                (pairs,), np.mean, n_resamples=_RESAMPLES, method="percentile", rng=0, batch=100
            ).confidence_interval
            return float(pairs.mean()), float(found.low), float(found.high), True
        if len(pairs):
            return float(pairs.mean()), float(pairs.mean()), float(pairs.mean()), True
    name, count = ("valid_accuracy", "n_valid") if split == "valid" else ("accuracy", "n")
    mine, others = float(one[name]), float(other[name])
    (low, high), (below, above) = (
        interval(mine, int(one[count])),
        interval(others, int(other[count])),
    )
    gap = mine - others
    return (
        gap,
        gap - float(np.hypot(mine - low, above - others)),
        gap + float(np.hypot(high - mine, others - below)),
        False,
    )


def correctness(predictions: Mapping[str, pd.DataFrame], split: str) -> pd.DataFrame:
    """Whether each run is right, 0 or 1: a row an image of the split, a column a run."""
    columns = {}
    for run, table in predictions.items():
        own = table[table["split"] == split].set_index("id")
        columns[run] = (own["label"] == own["predicted"]).astype(float)
    return pd.DataFrame(columns)


def ranked(table: pd.DataFrame, target: Target) -> pd.DataFrame:
    """The candidates with who takes part: `ranked`, `note` where not, `frontier` of the test images."""
    most = max((set(seeds.split()) for seeds in table["seeds"]), key=len, default=set())
    notes = []
    for row in table.itertuples():
        slower = row.setting not in ("", FULL) and (
            row.images_per_s < row.plain_images_per_s
            if target.cost == "images_per_s"
            else row.latency_ms > row.plain_latency_ms
        )
        if not most <= set(row.seeds.split()):
            notes.append("lacks seeds that others have")
        elif pd.isna(getattr(row, target.cost)):
            notes.append("its time was not measured")
        else:
            notes.append("slower than its own plain model" if slower else "")
    table = table.assign(note=notes, ranked=[not note for note in notes])
    cheap, accuracy = target.cheapness(table).to_numpy(), table["accuracy"].to_numpy()
    frontier = []
    for place, taking_part in enumerate(table["ranked"]):
        others = (
            table["ranked"].to_numpy() & (cheap <= cheap[place]) & (accuracy >= accuracy[place])
        )
        better = others & ((cheap < cheap[place]) | (accuracy > accuracy[place]))
        frontier.append(bool(taking_part and not better.any()))
    return table.assign(frontier=frontier)


def choose(
    table: pd.DataFrame, target: Target, right: pd.DataFrame
) -> tuple[int | None, int | None, str]:
    """Positions of the answer and of the most accurate candidate, and why it is that one.

    Args:
        table: of `ranked`.
        target: what is asked.
        right: of the validation images (`correctness`).
    """
    own = table[table["ranked"]]
    if own.empty:
        return None, None, "no experiment has all seeds and measured times"
    cheap = target.cheapness(own)
    top = own["valid_accuracy"].max()
    best = int(cheap[own["valid_accuracy"] >= top - _EQUAL].idxmin())
    if target.key == "drop":
        meets = own["valid_accuracy"] >= top - target.value - _EQUAL
        return int(cheap[meets].idxmin()), best, "the fastest of those that lose no more"
    limit = -target.value if target.cost == "images_per_s" else target.value
    meets = cheap <= limit + _EQUAL
    if not meets.any():
        nearest = own.loc[cheap.idxmin()]
        return (
            None,
            best,
            f"none is as fast; the fastest, {nearest['name']}, has {cost_text(nearest)}",
        )
    within = own[meets]
    first = within["valid_accuracy"] >= within["valid_accuracy"].max() - _EQUAL
    leader = within.loc[cheap[within.index][first].idxmin()]
    equal = []
    for place, row in within.iterrows():
        _, low, high, _ = difference(row, leader, "valid", right)
        if place == leader.name or low <= 0 <= high:
            equal.append(place)
    chosen = int(cheap[equal].idxmin())
    if chosen == leader.name:
        return chosen, best, "the most accurate of those as fast"
    why = f"validation images cannot tell it from {leader['name']}, which is slower"
    return chosen, best, why


def answer(
    study: str,
    target: Target,
    summary: pd.DataFrame,
    points: pd.DataFrame,
    predictions: Mapping[str, pd.DataFrame],
    costs: Mapping[str, pd.DataFrame],
    experiments: Mapping[str, Sequence[str]],
    masked: Mapping[str, Sequence[str]],
    throughput_batch: int,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table of all candidates and the answer in words and numbers.

    Args:
        study: its name.
        target: what is asked.
        summary: rows of `summary.csv`.
        points: rows of `operating_points.csv`.
        predictions: of runs: `id, split, label, predicted`.
        costs: rows of each run's `cost.csv`.
        experiments: that are tested on the same images -> their runs.
        masked: method -> settings that compute what another point leaves out.
        throughput_batch: images a batch of `images_per_s`.
    """
    table = candidates(summary, points, experiments, masked)
    for place, row in table.iterrows():
        beside = plain_costs(costs, experiments[row["experiment"]], throughput_batch)
        table.loc[place, list(beside)] = list(beside.values())
    table = ranked(table, target)
    right = {split: correctness(predictions, split) for split in ("valid", "test")}
    chosen, best, why = choose(table, target, right["valid"])
    own = table["ranked"] & (table.index == chosen)
    table["status"] = ["" for _ in table.index]
    if best is not None:
        table.loc[best, "status"] = MOST_ACCURATE
        table["meets"] = _meets(table, target, float(table.loc[best, "valid_accuracy"]))
    if chosen is not None:
        table.loc[own, "status"] = ANSWER
    record: dict[str, Any] = {
        "study": study,
        "target": {target.key: target.value},
        "asked": target.words,
        "why": why,
        "device": ", ".join(sorted(summary["device"].dropna().unique())),
        "answer": _told(table, chosen),
        "most_accurate": _told(table, best),
    }
    if chosen is not None and best is not None:
        gap = difference(table.loc[chosen], table.loc[best], "test", right["test"])
        record["difference"] = dict(zip(("points", "low", "high", "paired"), gap))
    table = table.sort_values(["ranked", "accuracy"], ascending=False, kind="stable")
    record["text"] = lines(record)
    # For the page, which is drawn from tables alone.
    table["said"] = ["\n".join(record["text"]), *[""] * (len(table) - 1)][: len(table)]
    return table[COLUMNS], record


def _meets(table: pd.DataFrame, target: Target, top: float) -> pd.Series:
    if target.key == "drop":
        return table["ranked"] & (table["valid_accuracy"] >= top - target.value - _EQUAL)
    limit = -target.value if target.cost == "images_per_s" else target.value
    return table["ranked"] & (target.cheapness(table) <= limit + _EQUAL)


def _told(table: pd.DataFrame, place: int | None) -> dict[str, Any] | None:
    """A candidate for JSON: missing values as None."""
    if place is None:
        return None
    row = table.loc[place]
    told: dict[str, Any] = {}
    for key in (column for column in COLUMNS if column not in ("said", "meets", "status")):
        value = row[key].item() if isinstance(row[key], np.generic) else row[key]
        told[key] = None if pd.isna(value) else value
    seed = str(row["seeds"]).split()[0]
    return told | {"run": f"{row['experiment']}-s{seed}"}
