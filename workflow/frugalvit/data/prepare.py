"""Decoding a dataset once, into the store."""

import json
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd

from frugalvit.checksums import KEY, note
from frugalvit.data.annotations import judge
from frugalvit.data.arrays import (
    Outcome,
    Square,
    create_array,
    decode_into,
    keep_rows,
)
from frugalvit.data.items import SPLITS, Item
from frugalvit.data.sources.all_sources import source_stamp
from frugalvit.data.sources.listing import list_items
from frugalvit.data.store import COLUMNS
from frugalvit.errors import DataError
from frugalvit.files import (
    atomic_path,
    sha256_file,
    write_json,
    writing,
)


def prepare(dataset: dict, raw: str | Path, folder: str | Path, workers: int = 1) -> dict:
    """Decode a downloaded dataset into `folder`: three arrays, `index.csv`, `report.json`.

    The arrays are uint8 `[n, crop, crop, 3]`, RGB; n may be 0. Nothing gets its name before all
    of it is written, and `index.csv` comes last: without it there is no store.

    Args:
        dataset: the `dataset` section of a study.
        raw: where `download` put the files.
        folder: the store's folder.
        workers: processes that decode.

    Returns:
        The report.

    Raises:
        DataError: images that cannot be decoded, or labels that cannot be used, all of them at
            once, unless `dataset.skip_bad_images` leaves them out.
    """
    listing = list_items(dataset, raw)
    folder = Path(folder)
    square = Square(dataset["resize"], dataset["crop"], dataset["max_pixels"], dataset["stretch"])
    with ExitStack() as stack:
        arrays = {
            split: stack.enter_context(atomic_path(folder / f"{split}.npy")) for split in SPLITS
        }
        for split, path in arrays.items():
            with writing(folder / f"{split}.npy"):
                create_array(path, sum(item.split == split for item in listing.items), square.crop)
        outcomes = decode_into(arrays, listing.items, square, workers, f"decode {dataset['name']}")
        pairs = list(zip(listing.items, outcomes, strict=True))
        failures = [{"file": item.file, "error": out.error} for item, out in pairs if out.error]
        said = f"{len(failures)} of {len(pairs)} images cannot be decoded"
        judge(failures, said, len(pairs) - len(failures), dataset["skip_bad_images"])
        _check_classes(pairs)
        for split, path in arrays.items():
            good = np.array([not out.error for item, out in pairs if item.split == split], bool)
            if not good.all():
                with writing(folder / f"{split}.npy"):
                    keep_rows(path, good)
        # An earlier store must not be opened with some of the new arrays.
        (folder / "index.csv").unlink(missing_ok=True)
    rows = [row for split in SPLITS for row in index_rows(split, pairs)]
    index = pd.DataFrame(rows, columns=COLUMNS)
    noted = note(*(folder / f"{split}.npy" for split in SPLITS))
    report = {
        "images": {split: int((index.split == split).sum()) for split in SPLITS},
        "image_size": square.crop,
        "class_names": list(listing.class_names.values()),
        "skipped": listing.faults + failures,
        "ignored_files": listing.ignored_files,
        "empty_classes": listing.empty_classes,
        "unnamed_classes": listing.unnamed_classes,
        "used_range": [
            min(outcome.low for _, outcome in pairs),
            max(outcome.high for _, outcome in pairs),
        ],
        "stretch": square.stretch,
        "made_from": made_from(dataset),
        "annotations": listing.annotations.record() if listing.annotations else None,
        **noted,
    }
    with atomic_path(folder / "index.csv") as table:
        index.to_csv(table, index=False)
        noted[KEY]["index.csv"] = sha256_file(table)
        write_json(folder / "report.json", report)
    return report


def made_from(dataset: dict) -> dict:
    """What a store is made from, as its report holds it: settings, and the state of own files."""
    return json.loads(json.dumps({"dataset": dataset, "stamp": source_stamp(dataset)}, default=str))


def _check_classes(pairs: list[tuple[Item, Outcome]]) -> None:
    lost = {item.class_name for item, _ in pairs}
    lost -= {item.class_name for item, outcome in pairs if not outcome.error}
    if lost:
        raise DataError(
            f"no image of class {', '.join(sorted(lost))} can be decoded; mend them, or leave the "
            "class out with dataset.classes"
        )


def index_rows(split: str, pairs: list[tuple[Item, Outcome]]) -> list[dict]:
    """Rows of a store's table: of the images of a split that could be decoded, in their order."""
    decoded = [pair for pair in pairs if pair[0].split == split and not pair[1].error]
    return [
        {
            "id": f"{split}-{row:06d}",
            "file": item.file,
            "split": split,
            "label": item.label,
            "class_name": item.class_name,
            "box": " ".join(f"{edge:.6g}" for edge in outcome.box) if outcome.box else "",
            "sha256": outcome.sha256,
            "group": item.group,
        }
        for row, (item, outcome) in enumerate(decoded)
    ]
