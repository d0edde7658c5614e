"""Measure every operating point of one seed's runs, taking turns with the plain model."""

from pathlib import Path

import pandas as pd

from frugalvit.data.batches import ImageSet
from frugalvit.data.store import Store, read_index
from frugalvit.devices.fabric import make_fabric
from frugalvit.evaluation.cost import LARGE_BATCH
from frugalvit.evaluation.timed_points import (
    TimedRun,
    cost_table,
    rows_of_run,
    sample_ids,
    with_times,
)
from frugalvit.evaluation.timing import measure_points
from frugalvit.files import write_csv
from frugalvit.jobs.run import run_job
from frugalvit.methods.registry import part
from frugalvit.methods.trained import load_run
from frugalvit.models.backbone import backbone_of
from frugalvit.operating_point import FULL, points_of


def main(snakemake):
    params, evaluation = snakemake.params, snakemake.params.evaluation
    threads = min(snakemake.threads, params.threads)
    store = Store(Path(snakemake.input.store[0]).parent)
    fabrics, models, timed = {}, {}, []
    for run, weights in zip(params.runs, snakemake.input.weights):
        folder = Path(weights).parent
        model, card = load_run(folder)
        points = pd.read_csv(folder / "untimed_points.csv")
        models_of = part(run["method"], "points").timed
        adapted = models_of(model.eval(), points_of(points), run["evaluation"], folder)
        own = {FULL: backbone_of(model), **adapted}
        precision = card["precision"]
        if precision not in fabrics:
            fabrics[precision] = make_fabric(snakemake.resources.gpu, threads, precision)
        each = TimedRun(run, points, card, list(own))
        for name, module in own.items():
            models.setdefault(each.key(name), fabrics[precision].setup_module(module))
        timed.append(each)
    ids = sample_ids(read_index(snakemake.input.assignments), evaluation["measure_images"])
    images = ImageSet(store, ids, timed[0].card["preprocessing"])
    pixels, _ = images.__getitems__(list(range(len(ids))))
    batch_sizes = [1, evaluation["throughput_batch"], LARGE_BATCH]
    how = (threads, evaluation["measure_seconds"], next(iter(fabrics.values())).device)
    rows = measure_points(models, pixels, batch_sizes, *how)
    for each, cost, out in zip(timed, snakemake.output.costs, snakemake.output.points):
        costs = cost_table(rows_of_run(rows, each), each.points, each.card)
        write_csv(cost, costs)
        joined = with_times(each.points, costs, evaluation["throughput_batch"])
        write_csv(out, joined.assign(**each.columns))


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
