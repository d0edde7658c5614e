"""Evaluate runs as their method does: their answers, metrics, and what else it tells."""

from pathlib import Path

import pandas as pd

from frugalvit.data.assignments import read_assignments
from frugalvit.data.store import Store
from frugalvit.devices.fabric import make_fabric
from frugalvit.evaluation.tested import TestedRun
from frugalvit.files import write_csv, write_json
from frugalvit.jobs.run import run_job
from frugalvit.methods.registry import part
from frugalvit.methods.trained import load_run


def main(snakemake):
    files, params = snakemake.input, snakemake.params
    store = Store(Path(files.store[0]).parent)
    features = {Path(file).parents[1].name: Path(file).parent for file in files.features}
    for place, settings in enumerate(params.runs):
        model, card = load_run(Path(files.weights[place]).parent)
        run = TestedRun(
            experiment=settings["experiment"],
            store=store,
            assignments=read_assignments(files.assignments[place], store),
            model=model.eval(),
            card=card,
            fabric=make_fabric(snakemake.resources.gpu, snakemake.threads, card["precision"]),
            features=features.get(settings["features"]),
            splits=settings["splits"],
            batch_size=params.batch_size,
            mistakes=params.mistakes,
            options=params.options,
        )
        found = part(params.method, "tables").evaluate(run, settings["how"])
        for name, paths in snakemake.output.items():
            write = write_csv if isinstance(found[name], pd.DataFrame) else write_json
            write(paths[place], found[name])


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
