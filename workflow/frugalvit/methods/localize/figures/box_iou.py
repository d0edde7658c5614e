"""How well boxes are found: the share of them that overlaps the true one by so much or more."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from frugalvit.chance import interval
from frugalvit.figures import style, tables
from frugalvit.figures.about import About
from frugalvit.figures.style import BLUE, DASH, GREY, INK, ORANGE, Page
from frugalvit.methods.localize.marks import JOINT, SHARES
from frugalvit.words import SPLIT_NAMES

COLUMNS = ("id", "split", "label", "predicted", "iou")
NEEDS = {"predictions": COLUMNS, "devices": tables.DEVICES}
LOOKS: dict[str, dict[str, Any]] = {
    "test": {"color": BLUE, "linestyle": "-"},
    "valid": {"color": ORANGE, "linestyle": (0, (4, 1.5))},
}
SIDE = 66.0  # mm, of the panel
FIRST = 22.0  # mm: words of the table's rows
GRID = np.linspace(0, 1, 501)


def at_least(overlaps: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """Share of boxes with an IoU of each mark or more."""
    return (overlaps[:, None] >= marks).mean(axis=0)


def shares(predictions: pd.DataFrame) -> pd.DataFrame:
    """A row a run and split: `seed, split, n, mean_iou`, those of `SHARES`, and `joint`.

    Images without a box are left out.
    """
    rows = []
    boxed = predictions.dropna(subset=["iou"])
    for (split, _, seed), run in boxed.groupby(["split", "run", "seed"]):
        found, right = run["iou"].to_numpy(float), run["label"] == run["predicted"]
        told = {name: (found >= least).mean() for name, least in SHARES.items()}
        told["joint"] = (right & (found >= JOINT)).mean()
        rows.append({"seed": seed, "split": split, "n": len(run), "mean_iou": found.mean(), **told})
    columns = ["seed", "split", "n", "mean_iou", *SHARES, "joint"]
    return pd.DataFrame(rows, columns=columns)


def plot(given: Mapping[str, pd.DataFrame], about: About) -> Figure:
    """See `figures.plotting`."""
    return draw(given["predictions"], **about.of_experiment)


@style.themed
def draw(
    predictions: pd.DataFrame, *, study: str, experiment: str, device: str, width_mm: float
) -> Figure:
    """Cumulative distribution of the IoU on validation and test images, and a table of its marks.

    `predictions` has the columns of `predictions.csv` and `run`, `seed`.
    """
    boxed = predictions.dropna(subset=["iou"])
    told = shares(boxed)
    splits = [split for split in LOOKS if (told["split"] == split).any()]
    counts = [tables.images_text(boxed.loc[boxed["split"] == split, "id"].nunique(), split)
              for split in splits]  # fmt: skip
    seeds = tables.seeds_text(predictions["seed"])
    title = f"Overlap of the boxes of {experiment}"
    subtitle = tables.subtitle(study, seeds, *counts, device and f"device: {device}")
    if boxed.empty:
        message = "No boxes to look at: no image of these splits has one."
        return style.message_page(title, subtitle, message, width_mm)
    several = predictions["run"].nunique() > 1
    lines = sum(1 + (told["split"] == split).sum() + 2 * several for split in splits)
    page = Page(
        title,
        subtitle,
        width_mm,
        body_mm=max(SIDE + 13, 16 + 4.6 * lines),
        notes=("Thin: one seed. Thick: all seeds together. " if several else "")
        + "IoU: shared area of the predicted and the true box over the area that they cover together."
        f" Joint: class right and an IoU of {JOINT:g} or more. 95 %: Wilson's interval of one"
        " model's share, what it may be on other images like these.",
    )
    axes = page.axes(13, 2, SIDE, SIDE)
    draw_curves(axes, boxed, splits)
    write_table(page, 13 + SIDE + 12, told, splits)
    return page.figure


def draw_curves(axes: Axes, boxed: pd.DataFrame, splits: list[str]) -> None:
    """Each split's curve, each seed's beneath, and the three marks."""
    low = min(0.4, np.floor(boxed["iou"].quantile(0.02) * 10) / 10)
    ends: list[tuple[float, float, str]] = []
    for split in splits:
        rows, look = boxed[boxed["split"] == split], LOOKS[split]
        for _, run in rows.groupby("run"):
            thin = at_least(run["iou"].to_numpy(float), GRID) * 100
            axes.plot(GRID, thin, linewidth=0.5, alpha=0.6, **look)
        whole = at_least(rows["iou"].to_numpy(float), GRID) * 100
        axes.plot(GRID, whole, linewidth=1.7, **look)
        # Named where the curve falls, left of it, clear of the other's.
        height = 62 - 14 * len(ends)
        ends.append((float(GRID[np.argmax(whole < height)]), float(height), split))
    for least in SHARES.values():
        axes.axvline(least, color=GREY, linewidth=0.7, linestyle=(0, (1, 2)))
        axes.text(least, 102, f".{least * 100:.0f}", ha="center", va="bottom", color=GREY)
    for x, y, split in ends:
        beside = 1 if x < low + 0.25 * (1 - low) else -1  # where there is room
        axes.annotate(
            SPLIT_NAMES[split], (x, y), xytext=(5 * beside, -1), textcoords="offset points",
            ha="left" if beside > 0 else "right", va="center", color=LOOKS[split]["color"],
            size=style.LABEL, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.85},
        )  # fmt: skip
    axes.set(xlim=(max(low, 0), 1), ylim=(0, 101))
    axes.set_xlabel("IoU of predicted and true box")
    axes.set_ylabel("boxes found at least so well (%)")
    axes.grid(axis="y")


def write_table(page: Page, left: float, told: pd.DataFrame, splits: list[str]) -> None:
    """Every seed's shares in percent, their mean ± spread, and what one share may be elsewhere."""
    names = ["mean_iou", *SHARES, "joint"]
    headings = ["mean IoU", *(f"≥ .{least * 100:.0f}" for least in SHARES.values()), "joint"]
    step = (page.width - left - FIRST) / len(names)
    rights = [left + FIRST + (place + 1) * step for place in range(len(names))]
    y = 4.0
    for heading, right in zip(headings, rights):
        page.text(right, y, heading, color=GREY, ha="right", va="center")
    for split in splits:
        own = told[told["split"] == split].sort_values("seed")
        y += 5.6
        page.text(
            left, y, f"{SPLIT_NAMES[split]}, %", weight="bold", color=LOOKS[split]["color"],
            va="center",
        )  # fmt: skip
        page.line((left, page.width), (y + 2.3, y + 2.3), color=GREY, linewidth=0.5)
        for row in own.to_dict("records"):
            y += 4.6
            page.text(left, y, f"seed {row['seed']}", color=INK, va="center")
            for name, right in zip(names, rights):
                page.text(right, y, f"{row[name] * 100:.1f}", ha="right", va="center")
        if len(own) > 1:
            y += 4.6
            page.text(left, y, "mean", weight="bold", va="center")
            for name, right in zip(names, rights):
                page.text(right, y, f"{own[name].mean() * 100:.1f}", weight="bold", ha="right",
                          va="center")  # fmt: skip
        y += 4.6
        page.text(left, y, "95 %", color=GREY, va="center")
        for name, right in zip(names, rights):
            share, n = own[name].mean(), int(own["n"].iloc[0])
            text = DASH if name == "mean_iou" else interval_of(share, n)
            page.text(right, y, text, color=GREY, ha="right", va="center", size=style.NOTE - 1)


def interval_of(share: float, n: int) -> str:
    """'97–100': Wilson's interval in percent."""
    low, high = (f"{end * 100:.0f}" for end in interval(float(share), n))
    return low if low == high else f"{low}{DASH}{high}"
