"""The comparison of all experiments as an HTML table for the report."""

from frugalvit.figures import paired
from frugalvit.figures.results_table import COLUMNS, draw
from frugalvit.figures.tables import read_runs, read_table
from frugalvit.files import atomic_path
from frugalvit.jobs.run import run_job


def main(snakemake):
    summary = read_table(snakemake.input.summary, COLUMNS)
    predictions = read_runs(snakemake.input.predictions, paired.COLUMNS)
    page = draw(summary, snakemake.params.experiments, predictions=predictions)
    with atomic_path(snakemake.output[0]) as temporary:
        temporary.write_text(page)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
