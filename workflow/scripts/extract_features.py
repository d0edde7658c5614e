"""Features of the base: of every image, or under augmented views of the images that train."""

from pathlib import Path

from frugalvit.data.store import Store
from frugalvit.devices.fabric import make_fabric
from frugalvit.jobs.run import run_job
from frugalvit.training.view_files import write_views


def main(snakemake):
    write_views(
        make_fabric(snakemake.resources.gpu, snakemake.threads, "32-true"),
        Store(Path(snakemake.input.store[0]).parent),
        Path(snakemake.input.base[0]).parent,
        snakemake.params.view_set,
        snakemake.input.assignments,
        Path(snakemake.output.card).parent,
        snakemake.params.batch_size,
    )


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
