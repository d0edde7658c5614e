"""Adaptive tokens and their rivals as an HTML table for the report."""

from frugalvit.figures import comparison
from frugalvit.figures.tables import read_runs, read_table
from frugalvit.files import atomic_path
from frugalvit.jobs.run import run_job
from frugalvit.methods.tokens.figures import token_table


def main(snakemake):
    files, params = snakemake.input, snakemake.params
    page = token_table.draw(
        read_table(files.points, token_table.POINT_COLUMNS),
        read_table(files.summary, comparison.SUMMARY_COLUMNS),
        read_runs(files.costs, comparison.COST_COLUMNS),
        read_table(files.metrics, token_table.METRICS_COLUMNS),
        study=params.study,
        experiments=params.experiments,
    )
    with atomic_path(snakemake.output[0]) as temporary:
        temporary.write_text(page)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
