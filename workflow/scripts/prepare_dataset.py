"""Decode a dataset once into its store: one array a split, one table, one report."""

from pathlib import Path

from frugalvit.data.prepare import prepare
from frugalvit.jobs.run import run_job


def main(snakemake):
    prepare(
        snakemake.params.dataset,
        raw=Path(snakemake.input[0]).parent,
        folder=Path(snakemake.output.index).parent,
        workers=snakemake.threads,
    )


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
