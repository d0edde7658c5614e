"""Features of a base on disk: of every image, or under augmented views of the images that train."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from frugalvit.checksums import note
from frugalvit.data.feature_files import rows_that_train
from frugalvit.data.store import Store
from frugalvit.devices.fabric import Fabric, device_name
from frugalvit.files import write_json
from frugalvit.jobs.progress import Progress
from frugalvit.models.base import build_from_base, load_card
from frugalvit.provenance import environment
from frugalvit.training.features import CACHE_SEED, extract_to_file, image_sets

SPLITS = ("train", "valid", "test")


def write_views(
    fabric: Fabric,
    store: Store,
    base: Path,
    view_set: dict[str, Any],
    assignments: Sequence[str | Path],
    folder: Path,
    batch_size: int,
) -> None:
    """Write the features of a set of views: `{split}.npy`, and `card.json` beside them.

    Args:
        fabric: where to compute.
        store: of the images.
        base: its folder.
        view_set: `views`, 0 for the plain view of every image, and `augment`.
        assignments: tables that say which images train; augmented views are of those alone.
        folder: of the files, named after the set.
        batch_size: images at once.
    """
    preprocessing = load_card(base)["preprocessing"]
    model = fabric.setup_module(build_from_base(base, num_classes=0)).module
    started = time.perf_counter()
    files = {split: folder / f"{split}.npy" for split in SPLITS}
    rows = {split: np.arange(len(store.ids(split))) for split in files}
    if view_set["views"]:
        rows = {split: rows_that_train(store, split, assignments) for split in files}
    counts = {split: len(own) for split, own in rows.items()}
    each, unit = (view_set["views"], "views") if view_set["views"] else (1, "images")
    total = each * sum(counts.values())
    with Progress(f"extract {folder.name}", total, unit) as shown:
        for split, path in files.items():
            how = (view_set["views"], view_set["augment"], CACHE_SEED)
            sets = image_sets(store, store.ids(split), preprocessing, *how)
            extract_to_file(fabric, model, sets, path, batch_size, rows[split], shown)
    write_json(
        folder / "card.json",
        {
            "images": counts,
            **view_set,
            "seconds": round(time.perf_counter() - started, 2),
            "device": device_name(fabric.device),
            "environment": environment(),
            **note(*files.values()),
        },
    )
