"""The comparison of all experiments as an HTML table for the report."""

from frugalvit.card import atomic_path
from frugalvit.figures.results_table import COLUMNS, draw
from frugalvit.figures.tables import read_table
from frugalvit.job import run_job


def main(snakemake):
    summary = read_table(snakemake.input.summary, COLUMNS)
    with atomic_path(snakemake.output[0]) as temporary:
        temporary.write_text(draw(summary, snakemake.params.experiments))


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
