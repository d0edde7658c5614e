"""First of the checks: whether there are enough images, and of which splits, for every experiment."""

from pathlib import Path

from frugalvit.data.store import Store
from frugalvit.files import write_json
from frugalvit.jobs.run import run_job
from frugalvit.methods.image_checks import check_images


def main(snakemake):
    store = Store(Path(snakemake.input.store[0]).parent)
    experiments = snakemake.params.experiments
    check_images(store.index, snakemake.params.split_sets, experiments)
    write_json(snakemake.output[0], {"images": len(store.index), "experiments": list(experiments)})


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
