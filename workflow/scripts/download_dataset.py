"""Fetch a dataset's files, mirror first, and write the marker that says which."""

import os
from pathlib import Path

from frugalvit.card import write_json
from frugalvit.data.sources import download
from frugalvit.job import run_job


def main(snakemake):
    marker = Path(snakemake.output[0])
    # Read here, not from the parameters: another mirror is no reason to fetch everything again.
    mirror = snakemake.config.get("mirror") or os.environ.get("FRUGALVIT_MIRROR") or None
    write_json(marker, download(snakemake.params.fetched, marker.parent, mirror))


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
