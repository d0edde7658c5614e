"""Measure every operating point of a run with early exits beside the plain model, on test images."""

import json
from pathlib import Path

import pandas as pd

from frugalvit.card import write_csv
from frugalvit.data.batches import ImageSet
from frugalvit.data.store import Store, read_index
from frugalvit.devices import make_fabric
from frugalvit.evaluation.exit_cost import measure_points
from frugalvit.evaluation.timed_points import (
    cost_table,
    models_of_points,
    sample_ids,
    with_times,
)
from frugalvit.job import run_job
from frugalvit.models.trained import load_run

LARGE_BATCH = 128


def main(snakemake):
    params, evaluation = snakemake.params, snakemake.params.evaluation
    model, card = load_run(Path(snakemake.input.weights).parent)
    threads = min(snakemake.threads, params.threads)
    fabric = make_fabric(snakemake.resources.gpu, threads, card["precision"])
    store = Store(Path(snakemake.input.store[0]).parent)
    ids = sample_ids(read_index(snakemake.input.assignments), evaluation["measure_images"])
    images, _ = ImageSet(store, ids, card["preprocessing"]).__getitems__(list(range(len(ids))))
    points = pd.read_csv(snakemake.input.points)
    temperatures = json.loads(Path(snakemake.input.calibration).read_text())["temperatures"]
    models = models_of_points(model.eval(), points, temperatures)
    models = {name: fabric.setup_module(module) for name, module in models.items()}
    batch_sizes = [1, evaluation["throughput_batch"], LARGE_BATCH]
    seconds = evaluation["measure_seconds"]
    rows = measure_points(models, images, batch_sizes, threads, seconds, fabric.device)
    costs = cost_table(rows, points, str(fabric._precision.precision))
    write_csv(snakemake.output.cost, costs)
    timed = with_times(points, costs, evaluation["throughput_batch"])
    write_csv(snakemake.output.points, timed.assign(**params.run))


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
