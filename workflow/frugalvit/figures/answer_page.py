"""The answer first: which model to take, what it saves and how sure that is, as one HTML page."""

import io
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from frugalvit.busy import load_text
from frugalvit.figures import abstain_page, style
from frugalvit.figures.about import About
from frugalvit.figures.looks import OTHER, Looks, read_looks
from frugalvit.figures.panel import LabelledPanel, tick_percents
from frugalvit.figures.style import DASH, GREY, INK, PALE, VERMILLION, Page
from frugalvit.operating_point import points_of
from frugalvit.words import ANSWER, MOST_ACCURATE

COLUMNS = (
    "experiment", "method", "setting", "value", "name", "seeds", "n_valid", "valid_accuracy", "n",
    "accuracy", "accuracy_sd", "gflops", "latency_ms", "images_per_s", "ranked", "frontier", "meets",
    "status", "note", "said", "in_use",
)  # fmt: skip
NEEDS = {"answer": COLUMNS, "summary": ("device",), "costs": ("model",)}
WIDTH, HEIGHT, LEFT, FOOT = 190.0, 92.0, 12.0, 11.0  # mm
STAR: dict[str, Any] = {"marker": "*", "color": VERMILLION, "markersize": 15, "mec": "white"}
_STYLE = """
body { font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; color: #1a1a1a; max-width: 900px;
  margin: 0 auto; padding: 20px; }
h1 { font-size: 20px; margin: 0 0 8px; }
p { margin: 6px 0 12px; }
p.answer { font-size: 18px; border-left: 5px solid #D55E00; padding: 6px 12px; background: #fdf4ee; }
p.busy { background: #fbe6e2; border-left: 5px solid #b3261e; padding: 6px 10px; }
svg { width: 100%; height: auto; }
div.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 14px; }
th, td { padding: 4px 9px; text-align: right; border-bottom: 1px solid #ddd; }
th { vertical-align: bottom; border-bottom: 2px solid #444; font-weight: 600; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: white; }
tr.answer td { font-weight: 700; background: #fdf4ee; }
tr.aside td { color: #666; }
code { background: #f2f2f2; padding: 1px 4px; overflow-wrap: anywhere; }
"""


def plot(given: Mapping[str, pd.DataFrame], about: About) -> str:
    """See `figures.plotting`."""
    return draw(
        given["answer"],
        study=about.study,
        device=", ".join(sorted(given["summary"]["device"].dropna().unique())),
        target=about.options["answer"],
        looks=read_looks(about.options["methods"]),
        busy=load_text(list(given["costs"].get("busy_cores", pd.Series(dtype=float)))),
        unsure=_unsure(given["answer"], given["summary"], about.options["abstain"]),
    )


def _unsure(table: pd.DataFrame, summary: pd.DataFrame, asked: Mapping[str, float] | None) -> str:
    """What the answer does where it may say "unsure"; empty where the study asks for nothing."""
    first = table[table["status"] == ANSWER]
    if asked is None or first.empty:
        return ""
    return abstain_page.line_of(first.iloc[0].to_dict(), summary, asked)


def draw(
    table: pd.DataFrame,
    *,
    study: str,
    device: str,
    target: Mapping[str, float],
    looks: Looks,
    busy: str = "",
    unsure: str = "",
) -> str:
    """A whole page: the answer in words, a figure, and a table of the models worth a look.

    Args:
        table: rows of `answer.csv`.
        study: its name.
        device: that times were measured on.
        target: the one key of `answer` and its value.
        looks: of methods.
        busy: what to say of times that were measured beside other work.
        unsure: what the answer does where it may say so.
    """
    said = str(table["said"].dropna().iloc[0]).split("\n") if table["said"].notna().any() else [""]
    text = "".join(f"<p class='answer'>{escape(line)}</p>" for line in said[:1])
    text += "".join(f"<p>{escape(line)}</p>" for line in said[1:] if line)
    if unsure:
        more = " <a href='abstain.html'>All models.</a>"
        text += f"<p>{escape(unsure)}{more}</p>"
    warned = f"<p class='busy'>{escape(busy)}</p>" if busy else ""
    first = table[table["status"] == ANSWER]
    use = ""
    if len(first):
        seed = str(first["seeds"].iloc[0]).split()[0]
        run = f"results/{study}/runs/{first['experiment'].iloc[0]}-s{seed}"
        point = "" if first["setting"].isna().all() else f" --point '{points_of(first)[0].name}'"
        use = (
            "<p>Classify photos with it: "
            f"<code>.venv/bin/frugalvit predict {escape(run + point)} photos/</code> "
            "<a href='model_card.html'>Its model card</a> says what it is made of, and its limits.</p>"
        )
    n, valid = int(table["n"].iloc[0]), int(table["n_valid"].iloc[0])
    drawn = picture(table, target, looks)
    explained = f"<p>{marks(table, looks)}</p>" if drawn else ""
    times = "No time was measured, so that no model is ranked. "
    if drawn:
        times = (
            f"Times were measured on {escape(device)}, all models taking turns, and hold for that "
            "device. "
        )
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'>"
        f"<title>{escape(study)}: the answer</title>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<style>{_STYLE}</style><h1>{escape(study)}: which model to take</h1>{text}{warned}"
        f"{drawn}{explained}{use}"
        f"<p>Chosen on {valid:,} validation images; accuracies are of {n:,} test images, mean over "
        f"seeds. {times}More stands in <a href='report.html'>report.html</a>, every experiment in "
        "<a href='summary.html'>summary.html</a>, and who is better, image by image, in "
        "<a href='comparisons.html'>comparisons.html</a>.</p>"
        f"<h2 style='font-size:16px'>The models that no other beats in both, and those named above</h2>"
        f"<div class='wide'>{listed(table)}</div></html>\n"
    )


def marks(table: pd.DataFrame, looks: Looks) -> str:
    """What the marks mean, in words: one a method that is there."""
    names = [looks.get(name, OTHER) for name in dict.fromkeys(table["method"])]
    shapes = {"D": "◆", "o": "●", "s": "■", "P": "✚", "p": "⬟", "^": "▲", "X": "✖", "h": "⬢"}
    told = [
        f"<span style='color:{look.color}'>{shapes.get(look.marker, '●')}</span> {escape(look.words)}"
        for look in names
    ]
    return (
        "<span style='color:#D55E00'>★</span> the answer &nbsp; "
        + " &nbsp; ".join(told)
        + ". Hollow: not ranked, for the reason below. The line joins the models that no other beats in "
        "both; models far below it are not drawn."
    )


def cost_of(target: Mapping[str, float]) -> str:
    """The column of the cost that was asked about."""
    return "images_per_s" if "images_per_s" in target else "latency_ms"


def picture(table: pd.DataFrame, target: Mapping[str, float], looks: Looks) -> str:
    """The figure as inline SVG; none where no time is known."""
    if table[cost_of(target)].isna().all():
        return ""
    file = io.StringIO()
    with style.matplotlib.style.context(["default", style.RC]):
        figure = scatter(table, target, looks)
        figure.savefig(file, format="svg", metadata=style.METADATA["svg"])
    return file.getvalue()[file.getvalue().index("<svg") :]


def scatter(table: pd.DataFrame, target: Mapping[str, float], looks: Looks) -> Figure:
    """Accuracy against measured time: every candidate, the frontier, the answer, what was asked."""
    column = cost_of(target)
    batched = column == "images_per_s"
    known = table[table[column].notna()]
    page = Page("", "", WIDTH, HEIGHT + FOOT)
    width = page.width - LEFT - 4
    axes = page.axes(LEFT, 0, width, HEIGHT)
    worth = known[known["frontier"].astype(bool) | known["status"].isin([ANSWER, MOST_ACCURATE])]
    seen = (worth if len(worth) else known)["accuracy"] * 100
    room = max(float(np.ptp(seen)), 2.0)
    # What lies far below is no choice: it would press all that is together.
    axes.set_ylim(max(seen.min() - 0.25 * room, 0), min(seen.max() + 0.15 * room, 101))
    axes.set_xlim(*_limits(known[column], float(target[column]) if column in target else None))
    axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    tick_percents(axes, 7)
    axes.grid()
    axes.set_ylabel("test accuracy (%)")
    better = "better →" if batched else "← better"
    axes.set_xlabel(
        f"images a second, in batches   {better}"
        if batched
        else f"ms for one image, measured   {better}"
    )
    panel = LabelledPanel(axes, width, HEIGHT)
    if column in target:
        axes.axvline(target[column], color=GREY, linewidth=0.9, linestyle=(0, (4, 2)))
        axes.text(
            target[column], axes.get_ylim()[1], " asked", color=GREY, va="top", size=style.TICK
        )
    frontier = known[known["frontier"].astype(bool)].sort_values(column)
    axes.plot(frontier[column], frontier["accuracy"] * 100, color=INK, linewidth=1.0, zorder=2)
    panel.keep_clear(frontier[column], frontier["accuracy"] * 100, 0.6)
    for row in known.itertuples():
        look = looks.get(str(row.method), OTHER)
        at = (getattr(row, column), row.accuracy * 100)
        if row.status == ANSWER:
            continue
        ranked = bool(row.ranked)
        if at[1] < axes.get_ylim()[0]:
            continue
        axes.plot(
            *at, look.marker, color=look.color if ranked else PALE, markersize=6 if row.frontier else 4,
            markerfacecolor=None if ranked else "white", zorder=4 if row.frontier else 3,
        )  # fmt: skip
        panel.keep_clear([at[0]], [at[1]], 0.9)
    named = known[known["frontier"].astype(bool) | known["status"].isin([ANSWER, MOST_ACCURATE])]
    chosen = named[named["status"] == ANSWER]
    axes.plot(chosen[column], chosen["accuracy"] * 100, **STAR, linestyle="none", zorder=7)
    panel.keep_clear(chosen[column], chosen["accuracy"] * 100, 2.4)
    for row in named.sort_values("status", ascending=False).itertuples():
        color = VERMILLION if row.status == ANSWER else looks.get(str(row.method), OTHER).color
        weight = "bold" if row.status == ANSWER else "normal"
        panel.label(getattr(row, column), row.accuracy * 100, str(row.name), color, weight)
    return page.figure


def _limits(values: pd.Series, asked: float | None) -> tuple[float, float]:
    """Of the axis of cost: all candidates and what was asked, from zero where they are near it."""
    low, high = float(values.min()), float(values.max())
    if asked is not None:
        low, high = min(low, asked), max(high, asked)
    room = 0.06 * max(high - low, 0.1 * high)
    return max(low - 2 * room, 0.0), high + 2 * room


def text_of(value: float, form: str) -> str:
    """A number as text; a dash where it was not measured."""
    return DASH if pd.isna(value) else format(value, form)


def listed(table: pd.DataFrame) -> str:
    """An HTML table: the frontier, the answer and the most accurate; best first."""
    worth = table[table["frontier"].astype(bool) | table["status"].isin([ANSWER, MOST_ACCURATE])]
    best = table[table["status"] == MOST_ACCURATE]
    reference = best if len(best) else table[(table["status"] == ANSWER)]
    slowest = float(reference["latency_ms"].iloc[0]) if len(reference) else float("nan")
    head = ("model", "test accuracy, %", "ms for one image", "time, %", "images/s", "GFLOPs")
    rows = []
    for row in worth.sort_values("accuracy", ascending=False, kind="stable").itertuples():
        spread = f" ± {row.accuracy_sd * 100:.1f}" if pd.notna(row.accuracy_sd) else ""
        note = {ANSWER: " (the answer)", MOST_ACCURATE: " (most accurate in validation)"}
        share = text_of(100 * row.latency_ms / slowest, ".0f")
        cells = (
            f"{row.name}{note.get(str(row.status), '')}",
            f"{row.accuracy * 100:.1f}{spread}",
            text_of(row.latency_ms, ".3g"),
            share,
            text_of(row.images_per_s, ",.0f"),
            text_of(row.gflops, ".3g"),
        )
        look = " class='answer'" if row.status == ANSWER else ""
        rows.append(f"<tr{look}>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    left_out = table[~table["ranked"].astype(bool)]
    notes = "".join(
        f"<p>Not ranked, {escape(str(why))}: {escape(', '.join(names))}.</p>"
        for why, names in left_out.groupby("note")["name"].apply(list).items()
    )
    headings = "".join(f"<th>{escape(heading)}</th>" for heading in head)
    return f"<table><thead><tr>{headings}</tr></thead><tbody>{''.join(rows)}</tbody></table>{notes}"
