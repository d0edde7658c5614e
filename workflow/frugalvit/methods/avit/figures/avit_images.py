"""What A-ViT computed of single images: depth maps, and the patches that went deepest."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from frugalvit.errors import DataError
from frugalvit.figures import gallery, style, tables
from frugalvit.figures.about import About
from frugalvit.figures.style import GREY, INK, VERMILLION, Page

COLUMNS = (
    "id",
    "split",
    "label",
    "class_name",
    "predicted",
    "predicted_name",
    "probability",
    "image",
    "side",
    "depths",
    "class_depth",
    "blocks",
    "box",
    "position",
)
METRICS_COLUMNS = ("run", "split", "depth_inside", "depth_outside", "boxed")
NEEDS = {
    "depth_images": COLUMNS,
    "own_metrics": METRICS_COLUMNS,
    "devices": tables.DEVICES,
}
TIMES = "\N{MULTIPLICATION SIGN}"
HEADINGS = (
    "image",
    "depth map",
    f"image {TIMES} depth",
    "deepest patches",
    "masked image",
)
HEAD, GAP, WORDS, FOOT = 5.0, 2.0, 31.0, 8.5  # mm: headings, gaps, words at the left, colour bar
MOST_CELL, TALLEST_WORDS = 30.0, 21.5  # mm
LEFT_OUT = "#CFE0EE"  # a tint that hardly any photograph has, so that it is not taken for image
BOX_LOOK: dict[str, Any] = {
    "fill": False,
    "edgecolor": "#F0E442",
    "linewidth": 1.0,
}  # yellow of the palette
BOX_SHADE: dict[str, Any] = {"fill": False, "edgecolor": INK, "linewidth": 1.9, "alpha": 0.7}


@dataclass(frozen=True)
class Shown:
    """One image with the depths of its patches."""

    picture: np.ndarray  # uint8 [height, width, 3]
    depths: np.ndarray  # int [side, side], blocks
    blocks: int  # of the model
    box: tuple[float, ...] | None  # x, y, width, height as shares of the side

    @property
    def deepest(self) -> np.ndarray:
        """Which patches went as deep as any of the image, bool `[side, side]`."""
        return self.depths == self.depths.max()

    def stretched(self, patches: np.ndarray) -> np.ndarray:
        """A value a patch as a value a pixel of the picture, `[height, width]`."""
        rows, columns = (np.arange(size) * len(patches) // size for size in self.picture.shape[:2])
        return patches[rows[:, None], columns]


def read_row(row: Any) -> Shown:
    """A row of `depth_images.csv`, decoded.

    Raises:
        DataError: the picture is no image, or depths or box are not what they should be.
    """
    source = f"runs/{row.run}/depth_images.csv: image {row.id}"
    picture = gallery.decode_image(row.image, source)
    depths, side = np.array(str(row.depths).split(), dtype=np.int64), int(row.side)
    if depths.size != side**2:
        raise DataError(
            f"{source}: {depths.size} depths for {side} by {side} patches; delete the file and rerun"
        )
    box = None if pd.isna(row.box) else tuple(float(part) for part in str(row.box).split())
    if box is not None and len(box) != 4:
        raise DataError(f"{source}: box '{row.box}' is not x y w h; delete the file and rerun")
    return Shown(picture, depths.reshape(side, side), int(row.blocks), box)


def plot(given: Mapping[str, pd.DataFrame], about: About) -> Figure:
    """See `figures.plotting`."""
    return draw(given["depth_images"], given["own_metrics"], **about.of_experiment)


@style.themed
def draw(
    images: pd.DataFrame,
    metrics: pd.DataFrame,
    *,
    study: str,
    experiment: str,
    device: str,
    width_mm: float,
) -> Figure:
    """One row an image: itself, its depth map, itself as bright as deep, its deepest patches twice.

    `images` has the columns of `depth_images.csv` and `run`, `seed`; only the lowest seed's are
    drawn, in the order of `position`. `metrics` are the metrics of all runs as a table; of those of
    this experiment's runs the depth inside and outside the boxes is read.

    Raises:
        DataError: a picture is not an image, or its depths do not fill its patches.
    """
    title = f"What {experiment} looked at longest"
    seeds = images["seed"].unique()
    metrics = metrics[metrics["run"].isin(images["run"])]
    images = tables.lowest_seed(images).sort_values("position", kind="stable")
    measured = device and f"device: {device}"
    if images.empty:
        message = "No images to look at: no depth maps were saved."
        return style.message_page(title, tables.subtitle(study, measured), message, width_mm)
    run = images["run"].iloc[0]
    split = images["split"].iloc[0]
    of_runs = f"run {run}" + (f", the first of {len(seeds)}" if len(seeds) > 1 else "")
    size = tables.images_text(len(images), split)
    subtitle = tables.subtitle(study, tables.seeds_text(images["seed"]), of_runs, size, measured)
    shown = [read_row(row) for row in images.itertuples()]
    inner = width_mm - 2 * style.MARGIN
    cell = min((inner - WORDS - len(HEADINGS) * GAP) / len(HEADINGS), MOST_CELL)
    row = max(cell, TALLEST_WORDS) + GAP
    lead = boxes_text(metrics, split)
    top = HEAD + (style.line_height(style.LABEL) + 2 if lead else 0)
    page = Page(title, subtitle, width_mm, top + len(shown) * row + FOOT, notes=notes(shown))
    page.text(0, 1.6, lead, size=style.LABEL, weight="bold", va="center")
    lefts = [WORDS + GAP + number * (cell + GAP) for number in range(len(HEADINGS))]
    for left, heading in zip(lefts, HEADINGS):
        page.text(left + cell / 2, top - 2.5, heading, ha="center", va="center", color=GREY)
    for number, (entry, named) in enumerate(zip(shown, images.itertuples())):
        y = top + number * row + (row - GAP - cell) / 2
        write_words(page, y + cell / 2, named, entry)
        draw_row([page.axes(left, y, cell, cell) for left in lefts], entry)
    bottom = top + len(shown) * row
    draw_scale(page, (lefts[1], bottom + 0.5, cell), max(entry.blocks for entry in shown))
    return page.figure


def boxes_text(metrics: pd.DataFrame, split: str) -> str:
    """How much deeper tokens go inside the boxes, or an empty text where no image has one."""
    own = metrics[(metrics["split"] == split) & (metrics["boxed"] > 0)]
    own = own.dropna(subset=["depth_inside", "depth_outside"])
    if own.empty:
        return ""

    def mean(column: str) -> str:
        spread = f" ± {own[column].std():.2f}" if len(own) > 1 else ""
        return f"{own[column].mean():.2f}{spread}"

    size = tables.images_text(int(own["boxed"].iloc[0]), split)
    runs = f", {len(own)} runs" if len(own) > 1 else ""
    return (
        f"Mean depth inside the box {mean('depth_inside')} blocks,"
        f" outside {mean('depth_outside')} ({size}{runs})"
    )


def notes(shown: list[Shown]) -> str:
    """How to read the columns."""
    text = (
        "Depth: blocks that computed a patch before it halted, or before its image was answered. "
    )
    text += f"Image {TIMES} depth: as bright as the share of the blocks that computed it. "
    text += "Deepest patches (white): as deep as any of the same image. "
    text += "Masked image: those alone, the others tinted blue. "
    text += "Outlined: the box around the object. " if any(e.box for e in shown) else ""
    return text + "✗: a wrong answer."


def write_words(page: Page, middle: float, row: Any, entry: Shown) -> None:
    """True class, answer and depths of an image, left of its row."""
    right = row.label == row.predicted
    mark = {"color": INK} if right else {"color": VERMILLION, "weight": "bold"}
    answer = ("" if right else "✗ ") + name_of(row.predicted_name, row.predicted)
    # Never 100 %: a rounded probability is no certainty.
    sure = f"{min(row.probability, 0.999) * 100:.{1 if row.probability > 0.99 else 0}f} %"
    lines: list[tuple[str, dict[str, Any]]] = [
        ("true class", {"color": GREY, "size": style.NOTE}),
        (name_of(row.class_name, row.label), {}),
        (f"answer, {sure}", {"color": GREY, "size": style.NOTE}),
        (answer, mark),
        ("patches, mean depth", {"color": GREY, "size": style.NOTE}),
        (f"{entry.depths.mean():.1f} of {entry.blocks} blocks", {}),
    ]
    step = style.line_height(style.TICK)
    for number, (text, look) in enumerate(lines):
        # A value stands close under its name, apart from the next pair.
        y = middle + (number - (len(lines) - 1) / 2 + 0.3 * (number // 2 - 1)) * step
        bold = look.get("weight") == "bold"
        fitted = style.shorten(text, look.get("size", style.TICK), WORDS, bold)
        page.text(0, y, fitted, va="center_baseline", **look)


def name_of(name: str | float, label: int) -> str:
    """A class's name, or its number where it has none."""
    return f"class {label}" if pd.isna(name) else str(name)


def draw_row(cells: list[Axes], entry: Shown) -> None:
    """The five pictures of one image."""
    colours, norm = depth_colours(entry.blocks)
    light = entry.stretched(entry.depths / entry.blocks)[..., None]
    kept = entry.stretched(entry.deepest)[..., None]
    alone = np.where(kept, entry.picture, (np.array(_rgb(LEFT_OUT)) * 255).astype(np.uint8))
    pictures = (
        entry.picture,
        colours(norm(entry.depths)),
        (entry.picture * light).astype(np.uint8),
        np.repeat(entry.deepest[..., None], 3, axis=2).astype(float),
        alone,
    )
    for number, (axes, picture) in enumerate(zip(cells, pictures)):
        smooth = number in (0, 2) and max(picture.shape[:2]) >= 64
        # Extent in shares, so that maps of patches and pictures of pixels lie on each other.
        axes.imshow(
            picture,
            extent=(0, 1, 1, 0),
            interpolation="lanczos" if smooth else "nearest",
            aspect="auto",
        )
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(visible=True, linewidth=0.5, color=GREY)
        if entry.box and number in (0, 1):
            x, y, width, height = entry.box
            for look in (BOX_SHADE, BOX_LOOK):
                axes.add_patch(Rectangle((x, y), width, height, **look))


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))


def depth_colours(blocks: int) -> tuple[Any, BoundaryNorm]:
    """One step of a sequential colour map a block: dark halted early, bright went deep."""
    colours = colormaps["viridis"].resampled(blocks)
    return colours, BoundaryNorm(np.arange(0.5, blocks + 1), blocks)


def draw_scale(page: Page, place: tuple[float, float, float], blocks: int) -> None:
    """The colours' meaning in blocks, beneath the depth maps; `place` is left, top and width."""
    left, top, width = place
    axes = page.axes(left, top, width, 2.2)
    colours, norm = depth_colours(blocks)
    axes.imshow(
        colours(norm(np.arange(1, blocks + 1)))[None],
        extent=(0.5, blocks + 0.5, 0, 1),
        aspect="auto",
        interpolation="nearest",
    )
    step = max(-(-blocks // int(width / 4)), 1)
    ticks = list(range(step, blocks + 1, step))
    axes.set(yticks=[], xticks=ticks if step < 3 else [1, *ticks])
    axes.tick_params(labelsize=style.NOTE, pad=1)
    for spine in axes.spines.values():
        spine.set_visible(False)
    page.text(left + width / 2, top + 7.2, "blocks", size=style.NOTE, ha="center", va="center")
