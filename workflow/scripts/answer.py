"""Which model to take, and why: a table of all candidates, the answer, its rivals and its card."""

import logging
from pathlib import Path

from frugalvit.evaluation.answer import Target, answer, correctness
from frugalvit.evaluation.card_files import write_card
from frugalvit.evaluation.paired_runs import comparisons
from frugalvit.files import read_csv, write_csv, write_json
from frugalvit.jobs.run import run_job

log = logging.getLogger(__name__)


def main(snakemake):
    params, files = snakemake.params, snakemake.input
    ((key, value),) = params.target.items()
    predictions = {
        Path(path).parent.name: read_csv(
            path, ("id", "split", "label", "predicted"), dtype={"id": str}
        )
        for path in files.predictions
    }
    summary = read_csv(files.summary)
    table, record = answer(
        params.study,
        Target(key, value),
        summary,
        read_csv(files.points),
        predictions,
        {Path(path).parent.name: read_csv(path) for path in files.costs},
        params.compared["runs"],
        params.compared["masked"],
        params.throughput_batch,
    )
    for line in record["text"]:
        log.info("%s", line)
    write_csv(snakemake.output.table, table)
    chosen = record["answer"] or record["most_accurate"]
    reference = chosen["experiment"] if chosen else None
    compared = comparisons(correctness(predictions, "test"), params.compared["runs"], reference)
    for row in compared[compared["family"] == "answer"].itertuples():
        log.info("%s against %s: %s", row.one, row.other, row.said)
    write_csv(snakemake.output.comparisons, compared)
    about = (record, params.dataset, predictions, summary)
    write_card(snakemake.output.card, snakemake.output.page, *about, files)
    write_json(snakemake.output.record, record)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
