"""Train one run: an experiment's schedule with one seed, at its own or the winning grid point."""

from pathlib import Path

from frugalvit.devices.fabric import loader_workers, training_fabric
from frugalvit.jobs.processes import launch
from frugalvit.jobs.run import run_job
from frugalvit.methods.trained import MethodRecipe
from frugalvit.models.base import folder_of
from frugalvit.training.runs import RunFiles, read_choice, reuse_run, train_run


def main(snakemake):
    run = snakemake.params.run
    folder = Path(snakemake.output.weights).parent
    settings = run["settings"]
    if run["candidates"]:
        choice = read_choice(snakemake.input.search[0], run["settings"]["seed"])
        settings = run["candidates"][choice.point]
        if choice.twin:
            reuse_run(folder.parent / choice.twin, folder, run["run"])
            return
    fabric = training_fabric(snakemake.resources, snakemake.threads, settings["precision"])
    files = RunFiles(
        folder=folder,
        store=Path(snakemake.input.store[0]).parent,
        assignments=Path(snakemake.input.assignments),
        base=folder_of(snakemake.input.base),
        features={Path(file).parent.name: Path(file).parent for file in snakemake.input.features},
        source=Path(snakemake.input.source[0]).parent if snakemake.input.source else None,
        teacher=Path(snakemake.input.teacher[0]).parent if snakemake.input.teacher else None,
        network=Path(str(snakemake.input.network)) if snakemake.input.network else None,
    )
    launch(
        fabric,
        train_run,
        run["run"],
        settings,
        files,
        MethodRecipe(settings["method"]),
        batch_size=snakemake.params.batch_size,
        workers=loader_workers(fabric, snakemake.params.workers, snakemake.threads),
        code=snakemake.params.digest,
        square=snakemake.params.square,
        halve=snakemake.params.halve.value,
    )


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
