"""Draw figures, or tables for people, from tables alone."""

from frugalvit.figures.about import About
from frugalvit.figures.plotting import draw
from frugalvit.jobs.run import run_job


def main(snakemake):
    params, wildcards = snakemake.params, dict(snakemake.wildcards.items())
    about = About(
        study=params.study,
        width_mm=params.page["width_mm"],
        experiment=wildcards.get("experiment", ""),
        splits=wildcards.get("splits", ""),
        options=params.options or {},
    )
    files, outputs = dict(snakemake.input.items()), dict(snakemake.output.items())
    draw(params.figures, files, outputs, about, params.page["dpi"])


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
