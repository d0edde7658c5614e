"""One table of all runs: metrics, cost, and how long they trained."""

from pathlib import Path

import pandas as pd

from frugalvit.evaluation.summary import metrics_table, summarize
from frugalvit.files import read_json, write_csv
from frugalvit.jobs.run import run_job
from frugalvit.operating_point import read_points


def main(snakemake):
    params, files = snakemake.params, snakemake.input
    choices = {Path(path).stem: read_json(path)["point"] for path in files.choices}
    costs = {Path(path).parent.name: pd.read_csv(path) for path in files.costs}
    rows = zip(params.runs, files.metrics, files.cards)
    runs = [(run, read_json(metrics), read_json(card)) for run, metrics, card in rows]
    points = read_points(files.points)
    summary = summarize(params.study, runs, costs, choices, points, params.throughput_batch)
    write_csv(snakemake.output.summary, summary)
    write_csv(snakemake.output.points, points)
    write_csv(snakemake.output.metrics, metrics_table(runs))


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
