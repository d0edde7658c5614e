"""Draw one experiment's early exits: accuracy, calibration, trade-off, depth and images."""

from frugalvit.figures import (
    point_words,
    split_images,
    style,
)
from frugalvit.figures.tables import class_names, device_of, outputs_of, read_runs, read_table
from frugalvit.jobs.run import run_job
from frugalvit.methods.early_exit.figures import (
    exit_accuracy,
    exit_calibration,
    exit_depth,
    exit_images,
    exit_tradeoff,
)


def main(snakemake):
    files, params = snakemake.input, snakemake.params
    experiment = snakemake.wildcards.experiment
    assignments = read_table(files.assignments[0], split_images.ASSIGNMENT_COLUMNS)
    summary = read_table(files.summary, exit_tradeoff.SUMMARY_COLUMNS)
    exits = read_runs(files.exits, (*exit_accuracy.COLUMNS, *exit_calibration.COLUMNS))
    points = read_runs(files.points, point_words.COLUMNS)
    predictions = read_runs(files.predictions, exit_depth.COLUMNS)
    images = read_runs(files.images, exit_images.COLUMNS, may_be_empty=True)
    probes = read_table(files.probes[0], exit_accuracy.PROBE_COLUMNS, may_be_empty=True)
    classes = class_names(assignments)
    names = {
        "study": params.study,
        "experiment": experiment,
        "device": device_of(summary, experiment),
        "width_mm": params.figures["width_mm"],
    }
    targets, rivals = params.targets, params.rivals
    drawn = {
        "exit_accuracy": exit_accuracy.draw(exits, probes, **names),
        "exit_calibration": exit_calibration.draw(exits, **names),
        "exit_tradeoff": exit_tradeoff.draw(
            points, summary, rivals=rivals, targets=targets, **names
        ),
        "exit_depth": exit_depth.draw(
            predictions, exits, points, classes, targets=targets, **names
        ),
        "exit_images": exit_images.draw(images, predictions, classes, **names),
    }
    for name, figure in drawn.items():
        style.save(figure, outputs_of(snakemake.output, name), params.figures["dpi"])


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
