"""The answer in two lines; `python -m frugalvit.evaluation.answer_words answer.csv` prints them."""

import sys
from collections.abc import Mapping
from typing import Any

import pandas as pd

from frugalvit.errors import FrugalError
from frugalvit.files import read_csv


def cost_text(row: Mapping[str, Any] | pd.Series) -> str:
    """'0.65 ms an image, 1,540 images a second in batches'."""
    return (
        f"{row['latency_ms']:.3g} ms for one image, {row['images_per_s']:,.0f} images/s in batches"
    )


def lines(record: Mapping[str, Any]) -> list[str]:
    """The answer in two lines."""
    chosen, best = record["answer"], record["most_accurate"]
    if best is None or chosen is None:
        return [f"No model to take: {record['asked']} was asked, and {record['why']}.", ""]
    accuracy = f"{100 * chosen['accuracy']:.1f} % of {chosen['n']:,} test images right"
    first = f"Take {chosen['name']}: {accuracy}, {cost_text(chosen)}"
    asked = f"Asked: {record['asked']}; {record['why']}."
    if chosen["name"] == best["name"]:
        return [f"{first}.", f"{asked} It is the most accurate in validation as well."]
    # By the time that was asked about: of one image, or of each in a batch.
    if "images_per_s" in record["target"]:
        share = best["images_per_s"] / chosen["images_per_s"]
    else:
        share = chosen["latency_ms"] / best["latency_ms"]
    first += (
        f": {100 * share:.0f} % of the time of {best['name']}, the most accurate in validation."
    )
    gap = record["difference"]
    points = [100 * gap[name] for name in ("points", "low", "high")]
    pairs = "the same images" if gap["paired"] else "as of two sets of images"
    told = "" if points[1] > 0 or points[2] < 0 else "; these images cannot tell them apart"
    against = (
        f"Against that one {points[0]:+.1f} points (95 % interval {points[1]:+.1f} to {points[2]:+.1f}, "
        f"{pairs}{told})."
    )
    return [first, f"{asked} {against}"]


def show(path: str) -> None:
    """Print the lines that `answer.csv` holds: a clone with tables alone has no more."""
    said = read_csv(path, ("said",))["said"].dropna()
    print(*"".join(said.head(1)).strip().split("\n"), sep="\n")


if __name__ == "__main__":
    try:
        show(sys.argv[1])
    except FrugalError as error:
        sys.exit(f"error: {error}")
