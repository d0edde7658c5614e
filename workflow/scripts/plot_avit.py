"""Draw one experiment's halting tokens: depth maps, halting per block, tokens an image, losses."""

from frugalvit.figures import split_images, style
from frugalvit.figures.tables import device_of, outputs_of, read_runs, read_table
from frugalvit.jobs.run import run_job
from frugalvit.methods.avit.figures import (
    avit_halting,
    avit_images,
    avit_losses,
    avit_tokens,
)


def main(snakemake):
    files, params = snakemake.input, snakemake.params
    experiment = snakemake.wildcards.experiment
    assignments = read_table(files.assignments[0], split_images.ASSIGNMENT_COLUMNS)
    summary = read_table(files.summary, ("experiment", "device"))
    names = {
        "study": params.study,
        "experiment": experiment,
        "device": device_of(summary, experiment),
        "width_mm": params.figures["width_mm"],
    }
    images = read_runs(files.images, avit_images.COLUMNS)
    metrics = read_table(files.metrics, avit_images.METRICS_COLUMNS)
    halting = read_runs(files.halting, avit_halting.COLUMNS)
    predictions = read_runs(files.predictions, avit_tokens.COLUMNS)
    histories = read_runs(files.histories, avit_losses.COLUMNS)
    drawn = {
        "avit_images": avit_images.draw(images, metrics, **names),
        "avit_halting": avit_halting.draw(halting, **names),
        "avit_tokens": avit_tokens.draw(predictions, **names),
        "avit_losses": avit_losses.draw(histories, assignments, **names),
    }
    for name, figure in drawn.items():
        style.save(figure, outputs_of(snakemake.output, name), params.figures["dpi"])


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
