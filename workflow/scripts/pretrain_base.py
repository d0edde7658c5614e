"""Pretrain the base: an ordinary run whose own base is random."""

from pathlib import Path

from frugalvit.devices.fabric import loader_workers, training_fabric
from frugalvit.jobs.processes import launch
from frugalvit.jobs.run import run_job
from frugalvit.methods.method import PLAIN
from frugalvit.methods.trained import MethodRecipe
from frugalvit.models.export import export_random
from frugalvit.training.runs import RunFiles, train_run


def main(snakemake):
    settings = snakemake.params.settings
    folder = Path(snakemake.output.weights).parent
    fabric = training_fabric(snakemake.resources, snakemake.threads, settings["precision"])
    export_random(snakemake.params.base, folder / "random", seed=settings["seed"])
    files = RunFiles(
        folder=folder,
        store=Path(snakemake.input.store[0]).parent,
        assignments=Path(snakemake.input.assignments),
        base=folder / "random",
        features={},
    )
    launch(
        fabric,
        train_run,
        "pretrain",
        settings,
        files,
        MethodRecipe(PLAIN),
        batch_size=snakemake.params.batch_size,
        workers=loader_workers(fabric, snakemake.params.workers, snakemake.threads),
        code=snakemake.params.digest,
        halve=snakemake.params.halve.value,
    )


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
