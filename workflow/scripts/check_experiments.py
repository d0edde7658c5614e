"""Early checks: what every phase trains and freezes, and what else a method can refuse."""

import logging
from pathlib import Path

from frugalvit.data.store import Store
from frugalvit.files import write_json
from frugalvit.jobs.run import run_job
from frugalvit.methods.base_checks import check_bases
from frugalvit.methods.image_checks import check_images
from frugalvit.models.base import folders_of
from frugalvit.training.freezing import freeze_tables

log = logging.getLogger(__name__)


def main(snakemake):
    store = Store(Path(snakemake.input.store[0]).parent)
    check_images(store.index, **snakemake.params.counted)
    bases = folders_of(snakemake.input.base)
    reports = check_bases(bases, snakemake.params.experiments, len(store.class_names))
    for line in freeze_tables(reports):
        log.info("%s", line)
    write_json(snakemake.output[0], reports)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
