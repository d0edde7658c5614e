"""What pages of tables share: their head, and a table of one split."""

from collections.abc import Iterable
from html import escape

STYLE = """
body { font: 14px/1.5 system-ui, "DejaVu Sans", sans-serif; color: #1a1a1a; margin: 24px; }
h1 { font-size: 18px; margin: 0 0 4px; }
h2 { font-size: 15px; margin: 18px 0 4px; }
p { max-width: 90ch; color: #444; margin: 4px 0 12px; }
table { border-collapse: collapse; }
th, td { padding: 4px 9px; text-align: right; white-space: nowrap; border-bottom: 1px solid #ddd; }
th { white-space: normal; vertical-align: bottom; border-bottom: 2px solid #444; font-weight: 600; }
th:first-child, td:first-child { text-align: left; white-space: normal; }
tr.published td { color: #666; font-style: italic; }
td.most { font-weight: 700; background: #eef4fa; }
div.wide { overflow-x: auto; }
div.wide th:first-child, div.wide td:first-child { position: sticky; left: 0; background: white; }
td small { display: block; color: #666; font-weight: 400; font-style: normal; }
"""


def html_head(title: str) -> str:
    """The start of a page, down to its heading."""
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{escape(title)}</title>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<style>{STYLE}</style><h1>{escape(title)}</h1>"
    )


def table(title: str, headings: Iterable[str], rows: Iterable[str]) -> str:
    """A heading and a table under it; rows are HTML."""
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    return (
        f"<h2>{escape(title)}</h2><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def scrolled(content: str) -> str:
    """What may be wider than a phone, and then scrolls by itself."""
    return f"<div class='wide'>{content}</div>"


def row(cells: Iterable[str], published: bool = False) -> str:
    """A row of plain text; in grey italics where others published it."""
    kind = " class='published'" if published else ""
    return f"<tr{kind}>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
