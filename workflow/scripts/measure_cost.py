"""Measure the plain networks and every operating point of all runs, taking turns."""

from pathlib import Path

from frugalvit.data.assignments import read_assignments
from frugalvit.data.store import Store
from frugalvit.evaluation.timed_points import with_times
from frugalvit.files import write_csv
from frugalvit.jobs.run import run_job
from frugalvit.methods.sitting import Sitting
from frugalvit.models.base import folders_of


def main(snakemake):
    params, files = snakemake.params, snakemake.input
    store = Store(Path(files.store[0]).parent)
    sitting = Sitting(
        store,
        bases=folders_of(files.base),
        assignments={
            Path(path).parent.name: read_assignments(path, store) for path in files.assignments
        },
        gpus=snakemake.resources.gpu,
        threads=min(snakemake.threads, params.threads),
        **params.evaluation,
    )
    plain = [sitting.add_plain(**network) for network in params.plain]
    adaptive = [
        sitting.add_run(run, Path(weights).parent)
        for run, weights in zip(params.runs, files.weights)
    ]
    sitting.measure()
    for key, path in zip(plain, snakemake.output.plain):
        write_csv(path, sitting.plain_costs(key))
    for run, cost, points in zip(adaptive, snakemake.output.costs, snakemake.output.points):
        costs = sitting.costs(run)
        write_csv(cost, costs)
        joined = with_times(run.points, costs, params.evaluation["throughput_batch"])
        write_csv(points, joined.assign(**run.columns))


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
