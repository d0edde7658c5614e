"""Draw a study's experiments side by side: accuracy and training time."""

from frugalvit.figures import schedules, style
from frugalvit.figures.tables import read_table
from frugalvit.jobs.run import run_job


def main(snakemake):
    figures = snakemake.params.figures
    figure = schedules.draw(
        read_table(snakemake.input.summary, schedules.COLUMNS),
        study=snakemake.params.study,
        shown=snakemake.params.experiments,
        width_mm=figures["width_mm"],
    )
    style.save(figure, snakemake.output, figures["dpi"])


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
