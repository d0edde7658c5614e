"""A division of a store's images on disk: which image is where, what was found, and some of them."""

import logging
from pathlib import Path
from typing import Any

from frugalvit.checksums import note
from frugalvit.data.checks import check, checks_table, raise_errors
from frugalvit.data.seen import View
from frugalvit.data.splits import assign, require_classes
from frugalvit.data.store import Store
from frugalvit.data.thumbnails import sample_images
from frugalvit.files import read_json, write_csv, write_json

log = logging.getLogger(__name__)


def write_splits(store: Store, splits: dict[str, Any], view: View, folder: Path) -> None:
    """Divide a store's images, and write what may be wrong with the division.

    Args:
        store: of the images.
        splits: section of the study that divides them.
        view: how much of an image models see.
        folder: of `assignments.csv`, `samples.csv`, `checks.csv` and `report.json`.

    Raises:
        ConfigError, DataError: the images cannot be divided so, or may not; `rejected.json` then holds
            what was found.
    """
    prepared = read_json(store.folder / "report.json")
    require_classes(store.index)
    assignments = assign(store.index, splits)
    report = check(store.index, assignments, splits, prepared, view)
    for line in report["lines"]:
        log.info("%s", line)
    # Snakemake deletes the outputs of a failed job: an undeclared sibling keeps the findings.
    rejected = folder / "rejected.json"
    rejected.unlink(missing_ok=True)
    if report["errors"]:
        write_json(rejected, report)
    raise_errors(report)
    write_csv(folder / "assignments.csv", assignments)
    write_csv(folder / "samples.csv", sample_images(store, assignments))
    write_csv(folder / "checks.csv", checks_table(report, prepared["skipped"]))
    write_json(folder / "report.json", report | note(folder / "assignments.csv"))
