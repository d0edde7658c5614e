"""What the checks of data and splits found, as a plain HTML table for the report."""

from collections.abc import Mapping
from html import escape

import pandas as pd

from frugalvit.figures.about import About

COLUMNS = ("check", "policy", "passed", "found", "what")
NEEDS = {"checks": COLUMNS}
FEW = "<!-- few images -->"  # on both sides of what the report's first page repeats
_STYLE = """
body { font: 14px/1.5 system-ui, "DejaVu Sans", sans-serif; color: #1a1a1a; margin: 24px; }
h1 { font-size: 18px; margin: 0 0 12px; }
table { border-collapse: collapse; }
th, td { padding: 4px 12px; text-align: left; vertical-align: top; border-bottom: 1px solid #ddd; }
th { border-bottom: 2px solid #444; }
td:last-child { max-width: 80ch; }
tr.found td { background: #fdf1e3; }
"""


def plot(given: Mapping[str, pd.DataFrame], about: About) -> str:
    """See `figures.plotting`."""
    return draw(given["checks"], about.study, about.splits)


def draw(checks: pd.DataFrame, study: str, splits: str) -> str:
    """A whole HTML page, one row a check.

    Args:
        checks: `checks.csv` of a folder of splits.
        study: its name.
        splits: the folder's name.
    """
    rows = "".join(
        f"<tr{'' if row.passed else ' class=found'}><td>{escape(row.check.replace('_', ' '))}</td>"
        f"<td>{'passed' if row.passed else f'{row.found} found'}</td><td>{escape(row.policy)}</td>"
        f"<td>{_lines(row.check, row.what)}</td></tr>"
        for row in checks.fillna("").itertuples()
    )
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><style>{_STYLE}</style>"
        f"<h1>{escape(study)}: checks of the images and of {escape(splits)}</h1><table><thead><tr>"
        "<th>check</th><th>result</th><th>policy</th><th>what</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></html>\n"
    )


def _lines(check: str, what: str) -> str:
    """What a check found, a line for each split."""
    parts = [escape(part) for part in what.split(" | ")]
    lines = parts[0] if len(parts) == 1 else "<br>".join(f"&bull; {part}" for part in parts)
    return f"{FEW}{lines}{FEW}" if check == "small_splits" and lines else lines
