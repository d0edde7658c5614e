"""Pretrain the base: an ordinary run whose own base is random."""

from pathlib import Path

from frugalvit.devices.fabric import loader_workers, training_fabric
from frugalvit.jobs.run import run_job
from frugalvit.methods.pretraining import pretrain


def main(snakemake):
    settings, params = snakemake.params.settings, snakemake.params
    fabric = training_fabric(snakemake.resources, snakemake.threads, settings["precision"])
    pretrain(
        fabric,
        settings,
        params.base,
        Path(snakemake.output.weights).parent,
        Path(snakemake.input.store[0]).parent,
        Path(snakemake.input.assignments),
        batch_size=params.batch_size,
        workers=loader_workers(fabric, params.workers, snakemake.threads),
        code=params.digest,
        halve=params.halve.value,
    )


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
