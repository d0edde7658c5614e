"""Where models may say "unsure": what each answers then, and how often it is right, as an HTML page."""

from collections.abc import Mapping
from html import escape
from typing import Any

import pandas as pd

from frugalvit.chance import interval_text
from frugalvit.figures.about import About
from frugalvit.figures.html_page import html_head, row, scrolled, table
from frugalvit.figures.style import DASH
from frugalvit.figures.tables import percent

COLUMNS = (
    "experiment", "run", "seed", "risk", "delta", "n_calibration", "units", "n", "answered", "wrong",
    "coverage", "accuracy", "selective_accuracy", "note",
)  # fmt: skip
NEEDS = {"abstain": COLUMNS}
HEADINGS = (
    "model", "answers, %", "right of these, %", "95 % interval", "right of all, %", "kept when tested",
)  # fmt: skip


def plot(given: Mapping[str, pd.DataFrame], about: About) -> str:
    """See `figures.plotting`."""
    return draw(given["abstain"], study=about.study, shown=about.options["experiments"])


def draw(told: pd.DataFrame, *, study: str, shown: list[str]) -> str:
    """A whole page: one row an experiment, most answers first.

    Args:
        told: rows of `abstain.csv`.
        study: its name.
        shown: experiments to show.
    """
    told = told[told["experiment"].isin(shown)]
    groups = dict(iter(told.groupby("experiment", sort=False)))
    order = sorted(groups, key=lambda name: -groups[name]["coverage"].mean())
    first = told.iloc[0]
    images = " or ".join(f"{n:,}" for n in sorted(told["n"].unique()))
    used = " or ".join(f"{n:,}" for n in sorted(told["n_calibration"].unique()))
    promised = promise_text(first["risk"], first["delta"])
    nothing = told[told["answered"] == 0]
    notes = "".join(
        f"<p>{escape(str(name))}: {escape(str(note))}.</p>"
        for name, note in zip(nothing["run"], nothing["note"])
    )
    rows = [row(_cells(name, groups[name])) for name in order]
    return (
        html_head(f"{study}: where models say “unsure”")
        + "<p>Each run answers only images of which it is sure enough. The threshold of its confidence "
        f"is such that {promised}, on new images drawn like the {used} calibration images that showed "
        "it. The promise is for each run.</p>"
        f"<p>Measured on {images} test images, mean over seeds ± standard deviation. “Right of all” is "
        "the accuracy without “unsure”. The interval is what so many answers can show (Wilson). The "
        "last column counts runs whose answers to the test images kept to the promised share; it too "
        "varies by chance. <code>frugalvit predict RUN photos/ --abstain</code> answers so.</p>"
        + scrolled(table("All models", HEADINGS, rows))
        + notes
        + "</html>\n"
    )


def promise_text(risk: float, delta: float) -> str:
    """'at most 2 % of its answers are wrong, with probability at least 90 %'."""
    return (
        f"at most {100 * risk:g} % of its answers are wrong, with probability at least "
        f"{100 * (1 - delta):g} %"
    )


def _cells(name: str, runs: pd.DataFrame) -> list[str]:
    share, count = runs["selective_accuracy"].dropna(), runs["answered"].mean()
    kept = int((runs["wrong"] <= runs["risk"] * runs["answered"]).sum())
    return [
        name,
        percent(runs["coverage"]).removesuffix(" %"),
        percent(share).removesuffix(" %"),
        interval_text(share.mean(), max(round(count), 1)) if len(share) else DASH,
        percent(runs["accuracy"]).removesuffix(" %"),
        f"{kept} of {len(runs)}",
    ]


def line_of(answer: Mapping[str, Any], summary: pd.DataFrame, asked: Mapping[str, float]) -> str:
    """What the model of the answer does where it may say "unsure", in one sentence.

    Args:
        answer: its row of `answer.csv`: `experiment`, `seeds`, `in_use`.
        summary: rows of `summary.csv`, with `coverage` and `selective_accuracy`.
        asked: `risk` and `delta`.
    """
    run = f"{answer['experiment']}-s{str(answer['seeds']).split()[0]}"
    own = summary[(summary["run"] == run) & (summary["split"] == "test")]
    if own.empty or str(answer["in_use"]).lower() != "true":
        return ""
    coverage, share, n = (
        float(own[key].iloc[0]) for key in ("coverage", "selective_accuracy", "n")
    )
    promised = promise_text(asked["risk"], asked["delta"])
    if not coverage:
        return (
            f"May it say “unsure” (--abstain), {run} answers nothing: calibration images did not show "
            f"that {promised}."
        )
    answers = round(coverage * n)
    return (
        f"May it say “unsure” (--abstain), {run} answers {100 * coverage:.0f} % of the test images, and "
        f"{100 * share:.1f} % of these {answers:,} answers are right (95 % interval "
        f"{interval_text(share, answers)} %). Promised: {promised}."
    )
