"""The checks of data and splits as an HTML table for the report."""

from frugalvit.figures.checks_table import COLUMNS, draw
from frugalvit.figures.tables import read_table
from frugalvit.files import atomic_path
from frugalvit.jobs.run import run_job


def main(snakemake):
    checks = read_table(snakemake.input[0], COLUMNS)
    with atomic_path(snakemake.output[0]) as temporary:
        temporary.write_text(draw(checks, snakemake.params.study, snakemake.wildcards.splits))


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
