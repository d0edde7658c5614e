"""Divide a store's images into splits, and say what may be wrong with the division."""

import logging
from pathlib import Path

from frugalvit.checksums import note
from frugalvit.data.checks import check, checks_table, raise_errors
from frugalvit.data.seen import View
from frugalvit.data.splits import assign, require_classes
from frugalvit.data.store import Store
from frugalvit.data.thumbnails import sample_images
from frugalvit.files import read_json, write_csv, write_json
from frugalvit.jobs.run import run_job

log = logging.getLogger(__name__)


def main(snakemake):
    store = Store(Path(snakemake.input[0]).parent)
    prepared = read_json(store.folder / "report.json")
    splits = snakemake.params.splits
    require_classes(store.index)
    assignments = assign(store.index, splits)
    view = View(**snakemake.params.view)
    report = check(store.index, assignments, splits, prepared, view)
    for line in report["lines"]:
        log.info("%s", line)
    # Snakemake deletes the outputs of a failed job: an undeclared sibling keeps the findings.
    rejected = Path(snakemake.output.report).with_name("rejected.json")
    rejected.unlink(missing_ok=True)
    if report["errors"]:
        write_json(rejected, report)
    raise_errors(report)
    write_csv(snakemake.output.assignments, assignments)
    write_csv(snakemake.output.samples, sample_images(store, assignments))
    write_csv(snakemake.output.checks, checks_table(report, prepared["skipped"]))
    write_json(snakemake.output.report, report | note(snakemake.output.assignments))


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
