"""Who is better, image by image, in words, as one HTML page."""

from collections.abc import Mapping
from html import escape

import pandas as pd

from frugalvit.figures.about import About
from frugalvit.figures.html_page import html_head, row, scrolled, table

COLUMNS = (
    "family",
    "one",
    "other",
    "seeds",
    "n",
    "better",
    "worse",
    "points",
    "p_corrected",
    "real",
    "level",
)
NEEDS = {"comparisons": COLUMNS}
HEADINGS = (
    "experiment",
    "against",
    "better, images",
    "worse, images",
    "points",
    "p, corrected",
    "told apart",
)
_HOW = (
    "<p>Of the test images, those count that one model gets right more often than the other, over the "
    "seeds that both have; most images both get right, or neither. p says how often chance alone would "
    "part so many images so unevenly (exact test of McNemar), corrected for the number of comparisons "
    "in the table (Benjamini and Yekutieli): of all differences that are told apart here, at most "
    "{share:g} % are expected to be chance. Adaptive models answer at their point in use.</p>"
)


def plot(given: Mapping[str, pd.DataFrame], about: About) -> str:
    """See `figures.plotting`."""
    return draw(given["comparisons"], study=about.study, shown=about.options["experiments"])


def draw(told: pd.DataFrame, *, study: str, shown: list[str]) -> str:
    """A whole page: each model against the answer in sentences and a table, and all pairs under it.

    Args:
        told: rows of `comparisons.csv`.
        study: its name.
        shown: experiments to show.
    """
    told = told[told["one"].isin(shown) & told["other"].isin(shown)]
    own, pairs = (told[told["family"] == name] for name in ("answer", "pairs"))
    head = html_head(f"{study}: who is better, image by image")
    if told.empty:
        return f"{head}<p>Nothing to compare: no two share test images and a seed.</p></html>\n"
    parts = [head, _HOW.format(share=100 * told["level"].iloc[0])]
    if len(own):
        parts.append(f"<p>{_sentence(own)}</p>")
        title = f"Each experiment against {own['other'].iloc[0]}, that of the answer"
        parts.append(scrolled(_table(title, own, against=False)))
    all_pairs = scrolled(_table("All pairs", pairs, against=True))
    parts.append(
        f"<details{'' if len(own) else ' open'}><summary>All {len(pairs):,} pairs, corrected for as "
        f"many comparisons</summary>{all_pairs}</details></html>\n"
    )
    return "".join(parts)


def _sentence(own: pd.DataFrame) -> str:
    """Which models differ from the answer, in words."""
    real = own["real"].astype(str).str.lower() == "true"
    parts = {
        f"Better than {own['other'].iloc[0]}": own[real & (own["points"] > 0)]["one"],
        "Worse": own[real & (own["points"] < 0)]["one"],
        "Not told apart by these images": own[~real | (own["points"] == 0)]["one"],
    }
    said = [
        f"<b>{what}</b>: {escape(', '.join(names))}." for what, names in parts.items() if len(names)
    ]
    return " ".join(said)


def _table(title: str, rows: pd.DataFrame, against: bool) -> str:
    ordered = rows.sort_values("points", ascending=False, kind="stable").to_dict("records")
    headings = HEADINGS if against else [HEADINGS[0], *HEADINGS[2:]]
    return table(title, headings, [row(_cells(one, against)) for one in ordered])


def _cells(told: dict, against: bool) -> list[str]:
    p = told["p_corrected"]
    return [
        str(told["one"]),
        *([str(told["other"])] if against else []),
        f"{told['better']} of {told['n']:,}",
        str(told["worse"]),
        f"{told['points']:+.1f}",
        "< 0.001" if p < 0.001 else f"{p:.2g}",
        "yes" if str(told["real"]).lower() == "true" else "no",
    ]
