"""Divide a store's images into splits, and say what may be wrong with the division."""

from pathlib import Path

from frugalvit.data.seen import View
from frugalvit.data.split_files import write_splits
from frugalvit.data.store import Store
from frugalvit.jobs.run import run_job


def main(snakemake):
    store = Store(Path(snakemake.input[0]).parent)
    view = View(**snakemake.params.view)
    write_splits(store, snakemake.params.splits, view, Path(snakemake.output.report).parent)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
