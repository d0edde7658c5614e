"""A store of ImageNet's size on one machine: opened, shuffled and read, and what memory does meanwhile.

The full-size store (1,281,167 + 50,000 images at 224 px, 200 GB) is sparse: it has every row and takes
no disk, so it shows what tables cost and what memory does, but nothing of the disk. Reading rates come
from a really written array that the page cache should not hold whole: it needs 30 GB, removed at the
end. Each part runs in a process of its own, so that its memory is its own.
"""

import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from frugalvit.config.schema import validate
from frugalvit.data.arrays import create_array
from frugalvit.data.batches import ImageSet, batch_order, batches
from frugalvit.data.checks import check
from frugalvit.data.splits import assign
from frugalvit.data.store import COLUMNS, Store, read_index
from frugalvit.files import write_csv
from frugalvit.provenance import environment

CLASSES, SIDE, BATCH, FIRST = 1000, 224, 256, 1440764
IMAGENET = {"train": 1_281_167, "valid": 50_000, "test": 0}
PREPROCESSING = {"image_size": SIDE, "mean": [0.5] * 3, "std": [0.5] * 3}
CROP = {"horizontal_flip": 0.5, "crop_scale": [0.08, 1.0]}
WAYS: dict[str, Callable[[Store, np.ndarray], Any]] = {
    "map": lambda store, rows: np.stack([store.images("train")[row] for row in rows]),
    "read": lambda store, rows: store.read(["train"] * len(rows), rows),
}


def memory() -> dict[str, int]:
    """MB that this process holds alone (`RssAnon`) and of mapped files, which the system can drop."""
    lines = Path("/proc/self/status").read_text().splitlines()
    found = dict(line.split(":", 1) for line in lines)
    return {name: int(found[name].split()[0]) // 1024 for name in ("RssAnon", "RssFile")}


def cpu_seconds() -> float:
    """Processor time of this process and of those it has waited for; others' load leaves it alone."""
    return sum(os.times()[:4])


@contextmanager
def step(rows: list[dict], name: str) -> Iterator[None]:
    """Append the time of the block, the most anonymous memory it had, and what is left after it."""
    peak, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], memory()["RssAnon"])

    watcher = threading.Thread(target=watch)
    watcher.start()
    started, cpu = time.perf_counter(), cpu_seconds()
    try:
        yield
        times = {"s": time.perf_counter() - started, "cpu_s": cpu_seconds() - cpu}
    finally:
        done.set()
        watcher.join()
    after = memory()
    rows.append({"step": name, **times, "peak": max(peak[0], after["RssAnon"]), **after})


def make_store(folder: Path, counts: dict[str, int], side: int = SIDE) -> None:
    """Arrays of holes and a full index, classes in order as `prepare` sorts them."""
    folder.mkdir(parents=True)
    generator, tables = np.random.default_rng(0), []
    for split, count in counts.items():
        create_array(folder / f"{split}.npy", count, side)
        labels = np.arange(count) * CLASSES // max(count, 1)
        names = [f"n{label + FIRST:08d}" for label in labels]
        digits = generator.bytes(32 * count).hex()
        columns = {
            "id": [f"{split}-{row:06d}" for row in range(count)],
            "file": [f"{split}/{name}/{name}_{row}.JPEG" for row, name in enumerate(names)],
            "split": split,
            "label": labels,
            "class_name": names,
            "box": "",
            "sha256": [digits[64 * row : 64 * row + 64] for row in range(count)],
            "group": "",
        }
        tables.append(pd.DataFrame(columns, columns=COLUMNS))
    write_csv(folder / "index.csv", pd.concat(tables))


def tables(folder: Path) -> list[dict]:
    """What the jobs that divide and train do before the first image."""
    rows: list[dict] = []
    splits = validate({"mode": "official"}, "splits")
    with step(rows, "nothing yet (torch imported)"):
        store = Store(folder)
    with step(rows, "read index.csv"):
        index = store.index
    with step(rows, "divide into splits, by strata"):
        assignments = assign(index, splits)
    with step(rows, "check the splits"):
        check(index, assignments, splits)
    twice, grouped = len(index) // 128, len(index) // 10
    shuffled = np.random.default_rng(0).permutation(len(index))
    sha256 = index["sha256"].to_numpy().copy()
    sha256[shuffled[:twice]] = sha256[shuffled[-twice:]]
    changed = index.assign(sha256=sha256)
    with step(rows, f"check them where {twice} images are there twice"):
        check(changed, assignments, splits)
    changed = index.assign(group=[f"g{row}" for row in shuffled % grouped])
    with step(rows, f"check them where {grouped} groups leak"):
        check(changed, assignments, splits)
    del changed
    with step(rows, "write assignments.csv"):
        write_csv(folder / "assignments.csv", assignments)
    return rows


def start_of_training(folder: Path) -> list[dict]:
    """What a training job does before the first image, and one shuffled order an epoch."""
    rows: list[dict] = []
    store = Store(folder)
    with step(rows, "read assignments.csv and index.csv"):
        table = read_index(folder / "assignments.csv")
        ids = table.loc[table["split"] == "train", "id"].tolist()
        store.index  # noqa: B018
    with step(rows, f"image set of {len(ids)} images"):
        images = ImageSet(store, ids, PREPROCESSING)
    with step(rows, "shuffled order of an epoch"):
        batch_order(len(images), BATCH, 1)
    return rows


def resident(folder: Path, way: str, stride: int) -> list[dict]:
    """Memory while rows of the whole training set are read at random, five times `stride` images."""
    store, generator, rows = Store(folder), np.random.default_rng(0), []
    store.image_size  # noqa: B018
    for part in range(6):
        rows.append({"way": way, "images": part * stride, **memory()})
        for _ in range(stride // BATCH):
            WAYS[way](store, generator.integers(0, len(store.images("train")), BATCH))
    return rows


def write_pixels(path: Path, count: int) -> float:
    """Fill a created array with noise, which no disk compresses; MB/s, up to the disk's word."""
    noise = np.random.default_rng(0).integers(0, 256, 64 * SIDE * SIDE * 3, dtype=np.uint8)
    started, size = time.perf_counter(), SIDE * SIDE * 3
    with path.open("r+b") as file:
        file.seek(-count * size, os.SEEK_END)
        for first in range(0, count, 32):
            start = first * 7919 % (32 * size)
            file.write(noise[start : start + min(32, count - first) * size])
        file.flush()
        os.fsync(file.fileno())
    return count * size / 1e6 / (time.perf_counter() - started)


def forget(path: Path) -> None:
    """Drop a written file from the page cache, as long as no process maps it."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def rate(folder: Path, way: str, order: str, cold: bool, seconds: float) -> dict:
    """Images a second in batches, and how many bytes the disk gave for each byte asked for."""
    store = Store(folder)
    count = len(store.images("train")) if cold else len(store.images("train")) // 10
    rows = np.arange(count) if order == "in order" else np.random.default_rng(1).permutation(count)
    if cold:
        forget(folder / "train.npy")
    else:
        for first in range(0, count, BATCH):
            store.read(["train"] * len(rows[first : first + BATCH]), rows[first : first + BATCH])
    before = _bytes_from_disk()
    started, cpu, done = time.perf_counter(), cpu_seconds(), 0
    while time.perf_counter() - started < seconds and done < len(rows):
        done += len(WAYS[way](store, rows[done : done + BATCH]))
    took, worked = time.perf_counter() - started, cpu_seconds() - cpu
    asked = done * SIDE * SIDE * 3
    return {
        "way": way,
        "order": order,
        "cache": "cold" if cold else "warm",
        "n": done,
        "images_per_s": done / took,
        "mb_per_s": asked / took / 1e6,
        "disk_per_byte": (_bytes_from_disk() - before) / asked,
        "cpu": worked / took,
        **memory(),
    }


def _bytes_from_disk() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["read_bytes"])


def loading(folder: Path, workers: int, augment: dict | None, cold: bool, seconds: float) -> dict:
    """Shuffled float batches through the loader of training, with nothing that trains."""
    torch.set_num_threads(1)
    store = Store(folder)
    ids = store.ids("train")
    images = ImageSet(store, ids if cold else ids[: len(ids) // 10], PREPROCESSING, augment)
    if cold:
        forget(folder / "train.npy")
    else:
        for first in range(0, len(images), BATCH):
            images.raw(list(range(first, min(first + BATCH, len(images)))))
    started, cpu, done = time.perf_counter(), cpu_seconds(), 0
    loader = iter(batches(images, batch_order(len(images), BATCH, 1), workers=workers))
    for pixels, _ in loader:
        done += len(pixels)
        if time.perf_counter() - started > seconds:
            break
    took = time.perf_counter() - started
    del loader  # ends the workers, so that their time is known
    return {
        "workers": workers,
        "view": "crop and flip" if augment else "plain",
        "cache": "cold" if cold else "warm",
        "n": done,
        "images_per_s": done / took,
        "cpu_ms_per_image": (cpu_seconds() - cpu) / done * 1000,
    }


def rates(folder: Path, seconds: float) -> list[dict]:
    """`rate` of either way, in order and at random, cold and warm."""
    return [
        rate(folder, way, order, cold, seconds)
        for cold in (True, False)
        for order in ("in order", "random")
        for way in WAYS
    ]


def loadings(folder: Path, seconds: float) -> list[dict]:
    """`loading` of plain and augmented views, cold and warm, without workers and with two."""
    return [
        loading(folder, workers, augment, cold, seconds)
        for augment in (None, CROP)
        for cold in (True, False)
        for workers in (0, 2)
    ]


def alone(part: Callable, *args: Any) -> Any:
    """The part's result, from a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(part, *args).result()


def show(title: str, rows: list[dict]) -> None:
    """Print rows as a Markdown table."""
    print(f"\n{title}\n\n| {' | '.join(rows[0])} |\n|{'---|' * len(rows[0])}")
    for row in rows:
        cells = (f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row.values())
        print(f"| {' | '.join(cells)} |", flush=True)


def main(
    counts: dict[str, int] = IMAGENET,
    written: int = 200_000,
    strides: tuple[tuple[str, int], ...] = (("map", 4096), ("read", 40_960)),
    seconds: float = 12.0,
) -> None:
    """Print the tables."""
    print(f"{os.cpu_count()} cores, {environment()['processor']}, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "full"
        alone(make_store, folder, counts)
        show(f"Tables of {sum(counts.values())} images; MB", alone(tables, folder))
        show("Before the first image of a training; MB", alone(start_of_training, folder))
        for way, stride in strides:
            title = f"Resident while random rows of {counts['train']} are read, sparse; MB"
            show(title, alone(resident, folder, way, stride))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "written"
        make_store(folder, {"train": written, "valid": 0, "test": 0})
        speed = write_pixels(folder / "train.npy", written)
        print(f"\n{written * SIDE * SIDE * 3 / 1e9:.1f} GB written at {speed:.0f} MB/s")
        show("Rates from the disk (cold) and from memory (warm)", alone(rates, folder, seconds))
        title = f"Shuffled float batches of {BATCH}, one thread a process"
        # Not alone: what a spawned process loads with would be spawned, too, and import torch anew.
        show(title, loadings(folder, seconds))
