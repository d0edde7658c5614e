"""First of the checks: whether there are enough images, and of which splits, for every experiment."""

from pathlib import Path

from frugalvit.data.store import Store
from frugalvit.files import write_json
from frugalvit.jobs.run import run_job
from frugalvit.methods.image_checks import check_images


def main(snakemake):
    store = Store(Path(snakemake.input[0]).parent)
    check_images(store.index, **snakemake.params.counted.value)
    counts = {"images": len(store.index), "classes": len(store.class_names)}
    write_json(snakemake.output[0], counts)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
