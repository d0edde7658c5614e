"""Draw one experiment: learning curves, confusion matrix, mistakes and reliability."""

from frugalvit.figures import (
    confusion,
    learning_curves,
    mistakes,
    reliability,
    split_images,
    style,
)
from frugalvit.figures.tables import class_names, device_of, outputs_of, read_runs, read_table
from frugalvit.jobs.run import run_job


def main(snakemake):
    figures, experiment = snakemake.params.figures, snakemake.wildcards.experiment
    assignments = read_table(snakemake.input.assignments[0], split_images.ASSIGNMENT_COLUMNS)
    summary = read_table(snakemake.input.summary, ("experiment", "device"))
    histories = read_runs(snakemake.input.histories, learning_curves.COLUMNS)
    predictions = read_runs(snakemake.input.predictions, reliability.COLUMNS)
    thumbnails = read_runs(snakemake.input.thumbnails, mistakes.COLUMNS, may_be_empty=True)
    classes = class_names(assignments)
    names = {
        "study": snakemake.params.study,
        "experiment": experiment,
        "device": device_of(summary, experiment),
        "width_mm": figures["width_mm"],
    }
    drawn = {
        "learning_curves": learning_curves.draw(histories, assignments, **names),
        "confusion": confusion.draw(predictions, classes, **names),
        "mistakes": mistakes.draw(thumbnails, predictions, classes, **names),
        "reliability": reliability.draw(predictions, **names),
    }
    for name, figure in drawn.items():
        style.save(figure, outputs_of(snakemake.output, name), figures["dpi"])


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
