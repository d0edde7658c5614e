"""Classifiers of scikit-learn on a trained run's embedding, which stays as it is."""

from pathlib import Path

from frugalvit.data.assignments import read_assignments
from frugalvit.data.store import Store
from frugalvit.devices.fabric import make_fabric
from frugalvit.evaluation.run_probes import probe_run
from frugalvit.evaluation.tested import TestedRun
from frugalvit.files import write_csv
from frugalvit.jobs.run import run_job
from frugalvit.methods.trained import load_run


def main(snakemake):
    files, params = snakemake.input, snakemake.params
    model, card = load_run(Path(files.weights).parent)
    store = Store(Path(files.store[0]).parent)
    run = TestedRun(
        experiment=params.experiment,
        store=store,
        assignments=read_assignments(files.assignments, store),
        model=model.eval(),
        card=card,
        fabric=make_fabric(snakemake.resources.gpu, snakemake.threads, card["precision"]),
        features=None,
        splits=("valid", "test"),
        batch_size=params.batch_size,
        mistakes=0,
    )
    write_csv(snakemake.output[0], probe_run(run, params.probes, params.most))


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
