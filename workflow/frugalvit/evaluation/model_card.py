"""The model card of a study's answer: what it was made of, how good and how dear it is, where it fails.

After Mitchell et al. 2019 ("Model cards for model reporting"). It says what tables and cards of the
study hold, and nothing else.
"""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from frugalvit.chance import few_images, interval_text
from frugalvit.operating_point import point_of
from frugalvit.words import SPLIT_NAMES

RESAMPLES = 2000
WORST = 5  # classes and confusions that are named
NONE = "-"  # where there is no value


@dataclass(frozen=True)
class Chosen:
    """All that a card is written from.

    Attributes:
        study: its name.
        answer: `answer` of `answer.json`.
        asked: what was asked for, in words.
        why: it is this model, in words.
        dataset: `source` and `name` of the study's images.
        card: of the run.
        metrics: `metrics.json` of the run.
        predictions: of the run: `id, split, label, predicted`.
        summary: rows of `summary.csv`.
        report: of its splits.
        checks: rows of the splits' `checks.csv`.
        base: the base's card; None where there is none.
        abstain: the run's row of `abstain.csv`; None where the study asks for none.
    """

    study: str
    answer: Mapping[str, Any]
    asked: str
    why: str
    dataset: Mapping[str, Any]
    card: Mapping[str, Any]
    metrics: Mapping[str, Any]
    predictions: pd.DataFrame
    summary: pd.DataFrame
    report: Mapping[str, Any]
    checks: pd.DataFrame
    base: Mapping[str, Any] | None
    abstain: Mapping[str, Any] | None = None

    @property
    def run(self) -> str:
        """The run that the card is of."""
        return str(self.answer["run"])

    @property
    def point(self) -> str:
        """Name of its operating point; empty where it has none."""
        return point_of(dict(self.answer)).name if self.answer["setting"] else ""

    @property
    def in_use(self) -> bool:
        """Whether that is the point whose answers to each image were kept."""
        return bool(self.answer["in_use"])


def plain(text: object) -> str:
    """Any text as Markdown that shows just that text."""
    one_line = " ".join(str(text).split())
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", escape(one_line, quote=False))


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; cells are text as it is to be read."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell) if line is lines[1] else plain(cell) for cell in line) + " |"
        for line in lines
    )


def model_card(of: Chosen) -> str:
    """The card as Markdown."""
    about = plain(of.card["method"])
    point = f", operating point {plain(of.point)}" if of.point else ""
    parts = [
        f"# Model card: {plain(of.answer['name'])}",
        f"The model that study {plain(of.study)} answers with, run {plain(of.run)} (method "
        f"{about}{point}). It tells {len(of.card['classes'])} classes apart. Asked: {plain(of.asked)}; "
        f"{plain(of.why)}.",
        "## Data\n\n" + _data(of),
        "## Metrics\n\n" + _metrics(of),
        "## Cost\n\n" + _cost(of),
        "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits(of)),
        "## How to predict with it\n\n" + _use(of),
        "## Provenance\n\n" + _provenance(of),
    ]
    return "\n\n".join(parts) + "\n"


def _data(of: Chosen) -> str:
    sizes, counts = of.report["sizes"], of.report["class_counts"]
    splits = [split for split in SPLIT_NAMES if sizes.get(split)]
    recall = of.metrics["test"]["recall_per_class"] if of.in_use else [None] * 10**6
    rows = []
    for place, name in enumerate(of.card["classes"]):
        tested = counts["test"].get(name, 0)
        share = recall[place]
        found = NONE if share is None else f"{100 * share:.1f} ({interval_text(share, tested)})"
        rows.append([name, *(counts[split].get(name, 0) for split in splits), found])
    rows.append(["all", *(sizes[split] for split in splits), ""])
    headings = ["class", *(SPLIT_NAMES[split] for split in splits), "found in test, % (95 %)"]
    source = of.dataset["source"]
    named = f", called {plain(of.dataset['name'])}" if of.dataset["name"] != source else ""
    unused = of.report.get("unused", 0)
    told = f"Images of source {plain(source)}{named}: {sum(sizes.values()):,} in all"
    told += f", and {unused:,} unused" if unused else ""
    return f"{told}. Images of each class:\n\n{table(headings, rows)}"


def macro_f1_interval(predictions: pd.DataFrame, classes: int) -> tuple[float, float]:
    """95 % interval of macro-F1: percentiles of a bootstrap over images."""
    pairs = (predictions["label"] * classes + predictions["predicted"]).to_numpy()
    seen = np.bincount(pairs, minlength=classes**2)
    kept = np.flatnonzero(seen)  # a draw holds no other pair
    draws = np.random.default_rng(0).multinomial(len(pairs), seen[kept] / len(pairs), RESAMPLES)
    label, predicted = np.divmod(kept, classes)
    one_hot = np.eye(classes, dtype=bool)
    true, found = draws @ one_hot[label], draws @ one_hot[predicted]
    right = (draws * (label == predicted)) @ one_hot[label]
    with np.errstate(invalid="ignore"):
        scores = np.nanmean(np.where(true + found > 0, 2 * right / (true + found), np.nan), axis=1)
    low, high = np.percentile(scores, [2.5, 97.5])
    return float(low), float(high)


def _metrics(of: Chosen) -> str:
    n = int(of.answer["n"])
    seeds = of.answer["seeds"].split()
    own = of.summary[of.summary["experiment"] == of.answer["experiment"]]
    own = own[own["split"] == "test"]
    rows = []
    if of.in_use:
        told, tested = of.metrics["test"], of.predictions.query("split == 'test'")
        f1 = macro_f1_interval(tested, len(of.card["classes"]))
        intervals = {
            "accuracy": interval_text(told["accuracy"], n),
            "macro_f1": " to ".join(f"{100 * end:.1f}" for end in f1),
        }
        names = {
            "accuracy": "accuracy, %", "macro_f1": "macro-F1, %", "ece": "calibration error, %",
            "loss": "cross-entropy, nats",
        }  # fmt: skip
        for key, name in names.items():
            factor, digits = (1, 3) if key == "loss" else (100, 1)
            spread = own[key].dropna() * factor
            mean = f"{spread.mean():.{digits}f}" + (
                f" ± {spread.std():.{digits}f}" if len(spread) > 1 else ""
            )
            rows.append([name, f"{told[key] * factor:.{digits}f}", intervals.get(key, NONE), mean])
        if of.abstain is not None:
            rows += _unsure_rows(of.abstain)
        head = ["measure", f"run {of.run}", "95 % interval", f"mean of seeds {', '.join(seeds)}"]
    else:
        accuracy, sd = float(of.answer["accuracy"]), of.answer["accuracy_sd"]
        shown = f"{100 * accuracy:.1f}" + (f" ± {100 * sd:.1f}" if sd is not None else "")
        rows = [["accuracy, %", shown, interval_text(accuracy, n)]]
        head = ["measure", f"mean of seeds {', '.join(seeds)}", "95 % interval"]
    return (
        f"Of {n:,} test images, which took no part in the choice. The interval is what so many images "
        f"show of others like them; ± is the spread over seeds.\n\n{table(head, rows)}"
    )


def _unsure_rows(told: Mapping[str, Any]) -> list[list[str]]:
    n, answers = int(told["n"]), int(told["answered"])
    interval_of_all = interval_text(told["coverage"], n)
    rows = [["answered with --abstain, %", f"{100 * told['coverage']:.1f}", interval_of_all, NONE]]
    if answers:
        share = float(told["selective_accuracy"])
        rows.append(
            ["right of these, %", f"{100 * share:.1f}", interval_text(share, answers), NONE]
        )
    return rows


def _cost(of: Chosen) -> str:
    answer, card = of.answer, of.card
    rows = [
        ["GFLOPs an image (a multiply-add is 2)", answer["gflops"], ".4g"],
        ["ms for one image", answer["latency_ms"], ".3g"],
        ["its plain model, ms for one image", answer["plain_latency_ms"], ".3g"],
        ["images/s in batches", answer["images_per_s"], ",.0f"],
        ["parameters, millions", answer["params_m"], ".3g"],
        ["training, s, with what it started from", card["train_seconds"], ",.0f"],
        ["peak memory of training, MB", card.get("peak_memory_mb"), ",.0f"],
    ]
    known = [[name, format(value, form)] for name, value, form in rows if value is not None]
    return (
        f"Measured on {plain(card['device'])}, {plain(card['environment']['processor'])}; times hold "
        f"for that device. Means over seeds.\n\n{table(['what', 'how much'], known)}"
    )


def limits(of: Chosen) -> list[str]:
    """Where the model falls short, as far as the study has measured it; a Markdown line each."""
    found = []
    if few := few_images("test", int(of.answer["n"])):
        found.append(f"Few test images: {plain(few)}.")
    if of.in_use:
        found += _weak_classes(of)
    else:
        found.append(
            "Answers to single images are kept of the operating point in use alone, which is another: "
            "how this one does on each class is not known."
        )
    own = of.summary[(of.summary["run"] == of.run) & (of.summary["split"] == "test")]
    found += [f"Falls short: {plain(said)}." for said in own["warning"].dropna()]
    failed = of.checks[of.checks["passed"].astype(str).str.lower() != "true"]
    for row in failed.itertuples():
        what = "" if pd.isna(row.what) else f": {plain(str(row.what)[:300])}"
        found.append(f"Check of the images, {plain(str(row.check).replace('_', ' '))}{what}")
    if of.abstain is not None:
        found.append(f"Unsure: {plain(of.abstain['note'])}.")
    found.append(
        "All numbers are of this study's images; none was measured on images of other origin."
    )
    return found


def _weak_classes(of: Chosen) -> list[str]:
    """The classes that it misses most, and what it takes them for."""
    classes, told = of.card["classes"], of.metrics["test"]
    known = [
        (share, place) for place, share in enumerate(told["recall_per_class"]) if share is not None
    ]
    worst = [
        f"{plain(classes[place])} ({100 * share:.0f} % of {sum(told['confusion'][place])})"
        for share, place in sorted(known)[:WORST]
        if share < 1
    ]
    confusion = np.array(told["confusion"])
    np.fill_diagonal(confusion, 0)
    order = np.argsort(-confusion, axis=None, kind="stable")[:WORST]
    pairs = [np.unravel_index(place, confusion.shape) for place in order]
    taken = [
        f"{plain(classes[true])} for {plain(classes[found])} ({confusion[true, found]})"
        for true, found in pairs
        if confusion[true, found]
    ]
    said = [f"Found least often of its test images: {', '.join(worst)}."] if worst else []
    return said + ([f"Taken most often: {', '.join(taken)}."] if taken else [])


def command(of: Chosen) -> str:
    """What classifies photos with it."""
    point = ["--point", of.point] if of.point else []
    run = f"results/{of.study}/runs/{of.run}"
    return shlex.join([".venv/bin/frugalvit", "predict", run, *point, "photos/"])


def _use(of: Chosen) -> str:
    seen, square = of.card["preprocessing"], of.card.get("square") or {}
    size = seen["image_size"]
    resized = (
        f"resized to {square['resize']} px at the short side; " if square.get("resize") else ""
    )
    abstain = "" if of.abstain is None else " With `--abstain` it says where it is unsure."
    return (
        f"```\n{command(of)}\n```\n\nThe folder of the run is all that is needed. An image is {resized}"
        f"the model sees the centre {size} x {size} px, normalised with mean {plain(seen['mean'])} and "
        f"standard deviation {plain(seen['std'])}.{abstain}"
    )


def _provenance(of: Chosen) -> str:
    card, base = of.card, of.base
    weights = card.get("weights_sha256", "not noted")
    rows: list[list[object]] = [["SHA-256 of weights.safetensors", weights]]
    if base:
        names = ("source", "model", "weights", "repository")
        told = [str(base[key]) for key in names if base.get(key)]
        rows.append(["base", ", ".join(told)])
        rows += [
            [f"{key} of the base", base[key]] for key in ("license", "licence") if base.get(key)
        ]
    rows += [[f"SHA-256 of {key}", value] for key, value in card["sha256"].items()]
    rows.append(["started from run", card.get("source", "the base" if base else "nothing")])
    phases = [
        f"{_words(phase['train'])}, {phase['epochs']} epochs"
        for phase in card["settings"]["schedule"]
    ]
    rows.append(["trained", "; ".join(phases) or "nothing"])
    rows.append(["epoch kept", f"{card['best_epoch']} of {card['epochs']}"])
    rows.append(["seed", card["seed"]])
    rows.append(["precision", card["precision"]])
    rows += [[name, version] for name, version in card["environment"].items()]
    return table(["what", "which"], rows)


def _words(train: Any) -> str:
    return f"last {train['blocks']} blocks" if isinstance(train, dict) else str(train)
