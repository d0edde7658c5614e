"""Features of the base: of every image, or under augmented views of the images that train."""

import time
from pathlib import Path

import numpy as np

from frugalvit.checksums import note
from frugalvit.data.feature_files import rows_that_train
from frugalvit.data.store import Store
from frugalvit.devices.fabric import device_name, make_fabric
from frugalvit.files import write_json
from frugalvit.jobs.progress import Progress
from frugalvit.jobs.run import run_job
from frugalvit.models.base import build_from_base, load_card
from frugalvit.provenance import environment
from frugalvit.training.features import CACHE_SEED, extract_to_file, image_sets


def main(snakemake):
    fabric = make_fabric(snakemake.resources.gpu, snakemake.threads, "32-true")
    store = Store(Path(snakemake.input.store[0]).parent)
    base = Path(snakemake.input.base[0]).parent
    preprocessing = load_card(base)["preprocessing"]
    model = fabric.setup_module(build_from_base(base, num_classes=0)).module
    views = snakemake.params.view_set
    started = time.perf_counter()
    files = {path.stem: path for path in map(Path, snakemake.output[:3])}
    rows = {split: np.arange(len(store.ids(split))) for split in files}
    if views["views"]:
        assignments = snakemake.input.assignments
        rows = {split: rows_that_train(store, split, assignments) for split in files}
    counts = {split: len(own) for split, own in rows.items()}
    each, unit = (views["views"], "views") if views["views"] else (1, "images")
    total = each * sum(counts.values())
    with Progress(f"extract {snakemake.wildcards.views}", total, unit) as shown:
        for split, path in files.items():
            ids = store.ids(split)
            how = (views["views"], views["augment"], CACHE_SEED)
            sets = image_sets(store, ids, preprocessing, *how)
            batch_size = snakemake.params.batch_size
            extract_to_file(fabric, model, sets, path, batch_size, rows[split], shown)
    write_json(
        snakemake.output.card,
        {
            "images": counts,
            **views,
            "seconds": round(time.perf_counter() - started, 2),
            "device": device_name(fabric.device),
            "environment": environment(),
            **note(*files.values()),
        },
    )


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
