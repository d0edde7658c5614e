"""One table of all runs: metrics, cost, how long they trained, and where they fall short."""

import logging
from pathlib import Path

from frugalvit.checksums import WEIGHTS_KEY as KEY
from frugalvit.evaluation.abstaining import abstentions, with_abstention
from frugalvit.evaluation.shortfalls import shortfalls
from frugalvit.evaluation.summary import metrics_table, summarize
from frugalvit.files import read_csv, read_json, write_csv, write_json
from frugalvit.jobs.run import run_job
from frugalvit.methods.registry import method
from frugalvit.operating_point import read_points

log = logging.getLogger(__name__)


def main(snakemake):
    params, files = snakemake.params, snakemake.input
    choices = {Path(path).stem: read_json(path)["point"] for path in files.choices}
    costs = {Path(path).parent.name: read_csv(path) for path in files.costs}
    rows = zip(params.runs, files.metrics, files.cards)
    runs = [(run, read_json(metrics), read_json(card)) for run, metrics, card in rows]
    points = read_points(files.points)
    missed = {
        run["run"]: method(run["method"]).missed(run["how"], points[points["run"] == run["run"]])
        for run in params.runs
    }
    predictions = {Path(path).parent.name: read_predictions(path) for path in files.predictions}
    warnings = shortfalls(params.runs, predictions, missed)
    for run, said in warnings.items():
        log.warning("WARNING %s: %s", run, said)
    throughput = params.throughput_batch
    methods = dict.fromkeys(run["method"] for run in params.runs)
    measures = [name for one in methods for name in method(one).measures]
    of_runs = (runs, costs, choices, points, throughput, warnings, measures)
    summary = summarize(params.study, *of_runs)
    if params.abstain:
        tested = [run for run in params.runs if run["run"] in params.abstain["runs"]]
        group_of = read_csv(files.index, dtype={"id": str, "group": str}).set_index("id")["group"]
        how = (params.abstain["risk"], params.abstain["delta"])
        table, records = abstentions(tested, predictions, points, group_of, *how)
        write_csv(snakemake.output.abstain, table)
        # A run that is trained anew needs another threshold.
        weights_of = {run["run"]: {KEY: card[KEY]} for run, _, card in runs}
        for path in snakemake.output.unsure:
            write_json(path, records[Path(path).parent.name] | weights_of[Path(path).parent.name])
        summary = with_abstention(summary, table)
    write_csv(snakemake.output.summary, summary)
    write_csv(snakemake.output.points, points)
    write_csv(snakemake.output.metrics, metrics_table(runs))


def read_predictions(path):
    columns = ["id", "split", "label", "predicted", "probability"]
    return read_csv(path, columns, usecols=lambda name: name in columns, dtype={"id": str})


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
