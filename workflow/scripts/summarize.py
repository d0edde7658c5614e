"""One table of all runs: metrics, cost, and how long they trained."""

import json
from pathlib import Path

import pandas as pd

from frugalvit.card import write_csv
from frugalvit.evaluation.summary import summarize
from frugalvit.job import run_job


def read_json(path):
    return json.loads(Path(path).read_text())


def main(snakemake):
    choices = {Path(path).stem: read_json(path)["point"] for path in snakemake.input.choices}
    costs = {Path(path).parent.name: pd.read_csv(path) for path in snakemake.input.costs}
    rows = zip(snakemake.params.runs, snakemake.input.metrics, snakemake.input.cards)
    runs = [(run, read_json(metrics), read_json(card)) for run, metrics, card in rows]
    write_csv(snakemake.output.summary, summarize(snakemake.params.study, runs, costs, choices))


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
