"""Which model to take, and why: a table of all candidates and the answer."""

import logging
from pathlib import Path

from frugalvit.evaluation.answer import Target, answer
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
    table, record = answer(
        params.study,
        Target(key, value),
        read_csv(files.summary),
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
    write_json(snakemake.output.record, record)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
