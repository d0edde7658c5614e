"""Draw sample images and class counts of one set of splits."""

from frugalvit.figures import split_images, style
from frugalvit.figures.tables import outputs_of, read_table
from frugalvit.jobs.run import run_job


def main(snakemake):
    figures = snakemake.params.figures
    assignments = read_table(snakemake.input.assignments, split_images.ASSIGNMENT_COLUMNS)
    samples = read_table(snakemake.input.samples, split_images.SAMPLE_COLUMNS)
    names = {"study": snakemake.params.study, "width_mm": figures["width_mm"]}
    drawn = {
        "samples": split_images.draw_samples(samples, assignments, **names),
        "class_counts": split_images.draw_class_counts(assignments, **names),
    }
    for name, figure in drawn.items():
        style.save(figure, outputs_of(snakemake.output, name), figures["dpi"])


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
