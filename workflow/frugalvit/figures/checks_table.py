"""What the checks of data and splits found, as a plain HTML table for the report."""

from html import escape

import pandas as pd

COLUMNS = ("check", "policy", "passed", "found", "what")
_STYLE = """
body { font: 14px/1.5 system-ui, "DejaVu Sans", sans-serif; color: #1a1a1a; margin: 24px; }
h1 { font-size: 18px; margin: 0 0 12px; }
table { border-collapse: collapse; }
th, td { padding: 4px 12px; text-align: left; vertical-align: top; border-bottom: 1px solid #ddd; }
th { border-bottom: 2px solid #444; }
tr.found td { background: #fdf1e3; }
"""


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
        f"<td>{escape(row.what)}</td></tr>"
        for row in checks.fillna("").itertuples()
    )
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><style>{_STYLE}</style>"
        f"<h1>{escape(study)}: checks of the images and of {escape(splits)}</h1><table><thead><tr>"
        "<th>check</th><th>result</th><th>policy</th><th>what</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></html>\n"
    )
