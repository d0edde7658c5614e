"""Draw the grid search of one experiment."""

from frugalvit.figures import (
    grid,
    split_images,
    style,
)
from frugalvit.figures.tables import device_of, read_table
from frugalvit.jobs.run import run_job


def main(snakemake):
    figures, experiment = snakemake.params.figures, snakemake.wildcards.experiment
    assignments = read_table(snakemake.input.assignments[0], split_images.ASSIGNMENT_COLUMNS)
    summary = read_table(snakemake.input.summary, ("experiment", "device"))
    figure = grid.draw(
        read_table(snakemake.input.grid, grid.COLUMNS),
        study=snakemake.params.study,
        experiment=experiment,
        device=device_of(summary, experiment),
        images=int((assignments["split"] == "valid").sum()),
        width_mm=figures["width_mm"],
    )
    style.save(figure, snakemake.output, figures["dpi"])


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
