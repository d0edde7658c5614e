"""Fetch a dataset's files, mirror first, and write the marker that says which."""

from pathlib import Path

from frugalvit.data.mirror import find_mirror
from frugalvit.data.sources.listing import download
from frugalvit.files import write_json
from frugalvit.jobs.run import run_job


def main(snakemake):
    marker = Path(snakemake.output[0])
    # Read here, not from the parameters: another mirror is no reason to fetch everything again.
    mirror = find_mirror(snakemake.config)
    write_json(marker, download(snakemake.params.fetched, marker.parent, mirror))


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
