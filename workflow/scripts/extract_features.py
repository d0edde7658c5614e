"""Features of the base for every image: plain, or under the augmented views of one view set."""

import time
from pathlib import Path

from frugalvit.data.store import Store
from frugalvit.devices.fabric import device_name, make_fabric
from frugalvit.files import write_json
from frugalvit.jobs.run import run_job
from frugalvit.models.base import build_from_base, load_card
from frugalvit.provenance import environment
from frugalvit.training.features import extract_to_file, image_sets


def main(snakemake):
    fabric = make_fabric(snakemake.resources.gpu, snakemake.threads, "32-true")
    store = Store(Path(snakemake.input.store[0]).parent)
    base = Path(snakemake.input.base[0]).parent
    preprocessing = load_card(base)["preprocessing"]
    model = fabric.setup_module(build_from_base(base, num_classes=0)).module
    views = snakemake.params.view_set
    started = time.perf_counter()
    counts = {}
    for path in map(Path, snakemake.output[:3]):
        split = path.stem
        # Augmented views are for training alone; a split that never trains has none.
        wanted = not views["views"] or split in snakemake.params.trained_on
        ids = store.ids(split) if wanted else []
        sets = image_sets(store, ids, preprocessing, views["views"], views["augment"], seed=0)
        extract_to_file(fabric, model, sets, path, snakemake.params.batch_size)
        counts[split] = len(ids)
    write_json(
        snakemake.output.card,
        {
            "images": counts,
            **views,
            "seconds": round(time.perf_counter() - started, 2),
            "device": device_name(fabric.device),
            "environment": environment(),
        },
    )


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
