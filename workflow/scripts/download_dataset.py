"""Fetch a dataset's files, mirror first, and write the marker that says which."""

from pathlib import Path

from frugalvit.card import write_json
from frugalvit.data.sources import download
from frugalvit.job import run_job
from frugalvit.mirror import find_mirror


def main(snakemake):
    marker = Path(snakemake.output[0])
    # Read here, not from the parameters: another mirror is no reason to fetch everything again.
    mirror = find_mirror(snakemake.config)
    write_json(marker, download(snakemake.params.fetched, marker.parent, mirror))


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
