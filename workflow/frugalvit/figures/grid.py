"""Grid search: one row a point with its settings, sorted by validation accuracy."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from frugalvit.figures import style, tables
from frugalvit.figures.about import About
from frugalvit.figures.style import BLUE, GREY, VERMILLION, Page

COLUMNS = ("point", "runs", "seeds", "valid_accuracy", "valid_accuracy_std", "selected")
NEEDS = {"grid": COLUMNS, "assignments": tables.ASSIGNMENTS, "devices": tables.DEVICES}
MOST_ROWS = 40
STEP, HEADER = 5.2, 8.0  # mm


def setting_columns(points: pd.DataFrame) -> list[str]:
    """The grid's keys, in the file's order."""
    return [column for column in points.columns if column not in COLUMNS]


def header_text(key: str, keys: list[str]) -> str:
    """The last part of a dotted key where that tells it apart: 'schedule[0].lr' is 'lr'."""
    last = key.rsplit(".", 1)[-1]
    return last if [other.rsplit(".", 1)[-1] for other in keys].count(last) == 1 else key


def value_text(value: object) -> str:
    """A setting as the config would spell it."""
    return (
        style.DASH if pd.isna(value) else f"{value:g}" if isinstance(value, float) else str(value)
    )


def tint(value: object, values: pd.Series) -> str | None:
    """Grey that darkens with a number's rank among the values tried; none for other settings."""
    numbers = pd.to_numeric(values, errors="coerce")
    ranked = sorted(numbers.dropna().unique())
    number = pd.to_numeric(value, errors="coerce")
    if numbers.isna().any() or len(ranked) < 2:
        return None
    share = ranked.index(number) / (len(ranked) - 1)
    return str(round(0.97 - share * 0.17, 3))


def plot(given: Mapping[str, pd.DataFrame], about: About) -> Figure:
    """See `figures.plotting`."""
    images = int((given["assignments"]["split"] == "valid").sum())
    return draw(given["grid"], images=images, **about.of_experiment)


@style.themed
def draw(
    points: pd.DataFrame, *, study: str, experiment: str, device: str, images: int, width_mm: float
) -> Figure:
    """Validation accuracy of every grid point, with its settings as a table; the winner is marked.

    `points` has the columns of `grid/{experiment}.csv`; `images` is the number of validation
    images.
    """
    keys = setting_columns(points)
    varying = [key for key in keys if points[key].astype(str).nunique() > 1] or keys
    fixed = [
        f"{header_text(key, keys)} = {value_text(points[key].iloc[0])}"
        for key in keys
        if key not in varying
    ]
    ranked = points.assign(chosen=points["selected"].map(is_selected))
    ranked = ranked.sort_values(
        ["valid_accuracy", "chosen", "point"], ascending=[False, False, True]
    )
    shown = ranked.head(MOST_ROWS)
    left_out = len(ranked) - len(shown)
    several = points["valid_accuracy_std"].notna().any()
    notes = "Marks: mean over seeds; lines: ± standard deviation. " if several else ""
    notes += "Grey darkens with the value of a setting. "
    notes += f"The {left_out} worst of {len(ranked)} points are left out. " if left_out else ""
    notes += "Selected by validation accuracy alone."
    page = Page(
        f"Grid search of {experiment}",
        tables.subtitle(
            study,
            f"{len(points)} point{'' if len(points) == 1 else 's'}",
            seeds_of(points),
            tables.images_text(images, "valid"),
            ", ".join(fixed) and "fixed: " + ", ".join(fixed),
            device and f"device: {device}",
        ),
        width_mm,
        body_mm=HEADER + len(shown) * STEP + 9,
        notes=notes,
    )
    left = write_settings(page, shown, varying, points)
    draw_points(page, left, shown, several)
    return page.figure


def seeds_of(points: pd.DataFrame) -> str:
    """Seeds of the search from its runs' ids: '1 seed (0)'."""
    found = points["runs"].astype(str).str.findall(r"-s(\d+)\b")
    return tables.seeds_text(int(seed) for seeds in found for seed in seeds)


def header_lines(key: str, keys: list[str], width: float) -> list[str]:
    """A key on one line or, if wider than `width` mm, on two, broken after '_' or '.'."""
    text = header_text(key, keys)
    if style.text_width(text, style.TICK) <= width:
        return [text]
    breakable = text.replace("_", "_ ").replace(".", ". ")
    lines = style.wrap(breakable, style.TICK, width, lines=2)
    return [line.replace("_ ", "_").replace(". ", ".") for line in lines]


def cap_widths(wanted: list[float], room: float) -> list[float]:
    """Narrow the widest columns until all fit in `room` mm."""
    widths = sorted(wanted)
    for number, width in enumerate(widths):
        share = room / (len(widths) - number)
        if width > share:
            return [min(width, share) for width in wanted]
        room -= width
    return wanted


def write_settings(page: Page, shown: pd.DataFrame, keys: list[str], points: pd.DataFrame) -> float:
    """The table of settings; returns the mm at which it ends."""
    texts = {key: [value_text(value) for value in shown[key]] for key in keys}
    widest = [max(style.text_width(text, style.TICK, True) for text in texts[key]) for key in keys]
    heads = [header_lines(key, keys, max(width + 3, 17)) for key, width in zip(keys, widest)]
    wanted = [
        max(width + 3, 12, *(style.text_width(line, style.TICK) + 1 for line in head))
        for width, head in zip(widest, heads)
    ]
    left = 0.0
    for key, head, width in zip(keys, heads, cap_widths(wanted, 0.6 * page.width - len(keys))):
        for number, line in enumerate(reversed(head)):
            look = {"ha": "center", "va": "center", "color": GREY}
            fitted = style.shorten(line, style.TICK, width)
            page.text(left + width / 2, HEADER - 2.2 - number * 3.3, fitted, **look)
        for row, (value, text) in enumerate(zip(shown[key], texts[key])):
            y = HEADER + row * STEP
            color = tint(value, points[key])
            if color:
                page.rectangle(left, y + 0.3, width, STEP - 0.6, facecolor=color)
            bold = is_selected(shown["selected"].iloc[row])
            look = {"ha": "center", "va": "center_baseline", "weight": "bold" if bold else "normal"}
            fitted = style.shorten(text, style.TICK, width - 1, bold)
            page.text(left + width / 2, y + STEP / 2, fitted, **look)
        left += width + 1
    return left


def is_selected(value: object) -> bool:
    """Whether a CSV's True says so."""
    return str(value).lower() == "true"


def draw_points(page: Page, left: float, shown: pd.DataFrame, several: bool) -> None:
    """The dot plot beside the table, values at its right."""
    values_width = 23.0
    axes = page.axes(left + 3, HEADER, page.width - left - 3 - values_width, len(shown) * STEP)
    mean = shown["valid_accuracy"] * 100
    spread = shown["valid_accuracy_std"].fillna(0) * 100
    for place, (value, error, flag) in enumerate(zip(mean, spread, shown["selected"])):
        chosen = is_selected(flag)
        color = VERMILLION if chosen else BLUE
        if several:
            axes.plot([value - error, value + error], [place, place], color=color, linewidth=1.1)
        axes.plot(
            value, place, "D" if chosen else "o", color=color, markersize=6 if chosen else 4.2
        )
        text = f"{value:.1f} ± {error:.1f} %" if several else f"{value:.1f} %"
        look = {"color": color, "weight": "bold"} if chosen else {}
        y = HEADER + (place + 0.5) * STEP
        page.text(page.width, y, text, ha="right", va="center_baseline", **look)
        if chosen:
            page.text(
                page.width, HEADER - 2.2, "◆ selected", ha="right", va="center", color=VERMILLION
            )
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("validation accuracy (%)")
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    low, high = float((mean - spread).min()), float((mean + spread).max())
    room = max((high - low) * 0.06, (4 - (high - low)) / 2, 0.4)
    axes.set_xlim(low - room, high + room)
    axes.grid(axis="x")
    for place in range(len(shown)):
        axes.axhline(place, color="#EFEFEF", linewidth=0.6, zorder=0)
