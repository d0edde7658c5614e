"""Draw accuracy against measured cost for everything that saves computation."""

from frugalvit.figures import (
    comparison,
    pareto,
    style,
)
from frugalvit.figures.tables import read_runs, read_table
from frugalvit.jobs.run import run_job


def main(snakemake):
    files, params = snakemake.input, snakemake.params
    figure = pareto.draw(
        read_table(files.points, comparison.POINT_COLUMNS),
        read_table(files.summary, comparison.SUMMARY_COLUMNS),
        read_runs(files.costs, comparison.COST_COLUMNS),
        study=params.study,
        experiments=params.experiments,
        throughput_batch=params.throughput_batch,
        width_mm=params.figures["width_mm"],
    )
    style.save(figure, list(snakemake.output), params.figures["dpi"])


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
