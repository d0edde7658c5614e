"""The model card of a study's answer as files: Markdown, and a page that needs no other file."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
from markdown import markdown

from frugalvit.evaluation.model_card import Chosen, model_card, plain
from frugalvit.files import atomic_path, read_csv, read_json

_STYLE = """
body { font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; color: #1a1a1a; max-width: 900px;
  margin: 0 auto; padding: 20px; overflow-wrap: anywhere; }
h1 { font-size: 22px; } h2 { font-size: 18px; margin-top: 28px; border-bottom: 1px solid #ddd; }
div.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 14px; overflow-wrap: normal; }
th, td { padding: 3px 9px; border-bottom: 1px solid #ddd; text-align: left; }
pre { background: #f2f2f2; padding: 8px 10px; white-space: pre-wrap; }
code { background: #f2f2f2; }
"""


def as_html(text: str, title: str) -> str:
    """A card as an HTML page that needs no other file."""
    body = markdown(text, extensions=["tables", "fenced_code"])
    body = body.replace("<table>", "<div class='wide'><table>").replace(
        "</table>", "</table></div>"
    )
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'>"
        f"<title>{escape(title)}</title>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<style>{_STYLE}</style>{body}</html>\n"
    )


def write_card(
    markdown_file: str,
    page: str,
    record: Mapping[str, Any],
    dataset: Mapping[str, Any],
    predictions: Mapping[str, pd.DataFrame],
    summary: pd.DataFrame,
    files: Any,
) -> None:
    """Write the card of the answer, as Markdown and as a page; where there is none both say so.

    Args:
        markdown_file: path.
        page: path.
        record: the answer's.
        dataset: `source` and `name` of the study's images.
        predictions: of all runs.
        summary: rows of `summary.csv`.
        files: paths that the job reads: `cards` and `metrics` of all runs, `report` and `checks` of the
            splits, `base` and `abstain`, which may be empty.
    """
    title, answer = f"{record['study']}: model card", record["answer"]
    if answer is None:
        text = f"# No model to take\n\n{plain(record['text'][0])}\n"
    else:
        run = answer["run"]
        beside = {
            name: read_json(next(path for path in paths if Path(path).parent.name == run))
            for name, paths in (("card", files.cards), ("metrics", files.metrics))
        }
        unsure = read_csv(files.abstain).set_index("run").loc[run] if files.abstain else None
        text = model_card(
            Chosen(
                record["study"],
                answer,
                record["asked"],
                record["why"],
                dataset,
                **beside,
                predictions=predictions[run],
                summary=summary,
                report=read_json(files.report),
                checks=read_csv(files.checks),
                base=_base_of(beside["card"], files.base),
                abstain=None if unsure is None else unsure.to_dict(),
            )
        )
    for path, content in ((markdown_file, text), (page, as_html(text, title))):
        with atomic_path(path) as temporary:
            temporary.write_text(content, encoding="utf-8")


def _base_of(card: dict[str, Any], bases: Sequence[str | Path]) -> dict[str, Any] | None:
    """The card of the base that a run was made from; None of one made from nothing."""
    weights = card["sha256"].get("base")
    found = (base for base in map(read_json, bases) if base["weights_sha256"] == weights)
    return next(found, None)
