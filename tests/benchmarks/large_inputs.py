"""What lies before and after a store of ImageNet's size: files to list and decode, a model to feed.

A tenth of ImageNet's files are listed (empty ones), photos of its usual size are decoded, and features
of 50,000 images of a ViT-B/16 are read: 4 GB of disk, removed at the end.
"""

import os
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from frugalvit.config.schema import validate
from frugalvit.data.feature_files import read_features
from frugalvit.data.folders import list_folder, listing_digest
from frugalvit.data.prepare import prepare
from frugalvit.devices.fabric import device_name
from frugalvit.models.architectures import named_architecture
from frugalvit.models.backbone import build
from frugalvit.models.flops import vit_flops
from frugalvit.provenance import environment
from tests.benchmarks.large_store import (
    CLASSES,
    FIRST,
    SIDE,
    alone,
    cpu_seconds,
    forget,
    show,
    step,
)

BLOCKS, DIM = 12, 768  # of a ViT-B/16
WIDTH, HEIGHT = 500, 375  # ImageNet's most common size, px
PHOTO_BYTES = 110_000  # ImageNet's mean file, 138 GB of 1.28 million


@dataclass
class Rows:
    """The part of an image set that reading features needs."""

    rows: np.ndarray
    splits: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


def listed(folder: Path, images: int) -> list[dict]:
    """Listing a folder of class folders, and its stamp, which each start of Snakemake takes."""
    for number in range(images):
        place = folder / "train" / f"n{number * CLASSES // images + FIRST:08d}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{place.name}_{number}.JPEG").touch()
    rows: list[dict] = []
    with step(rows, f"stamp of {images} files"):
        listing_digest(folder)
    with step(rows, f"list {images} files"):
        list_folder(folder)
    return rows


def write_photos(archive: Path, folder: Path, count: int) -> float:
    """Photos of ImageNet's usual size and bytes from the mirror's smaller ones; mean bytes.

    Enlarged photos are smooth: noise makes their files, and so their decoding, as heavy.
    """
    generator, sizes = np.random.default_rng(0), []
    with tarfile.open(archive) as tar:
        members = [member for member in tar.getmembers() if member.name.endswith(".jpg")][:count]
        for number, member in enumerate(members):
            with Image.open(tar.extractfile(member)) as photo:
                large = np.asarray(photo.convert("RGB").resize((WIDTH, HEIGHT)), dtype=np.int16)
            noise = generator.normal(0, 20, (HEIGHT, WIDTH, 1)).astype(np.int16)
            path = folder / str(number % 2) / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((large + noise).clip(0, 255).astype(np.uint8)).save(path, quality=90)
            sizes.append(path.stat().st_size)
    return float(np.mean(sizes))


def decoded(photos: Path, folder: Path, workers: int) -> dict:
    """Images a second of preparing a store, resized to 256 px and cut to 224."""
    dataset = validate(
        {"source": "folder", "path": str(photos), "resize": 256, "crop": SIDE, "name": "photos"},
        "dataset",
    )
    started, cpu = time.perf_counter(), cpu_seconds()
    report = prepare(dataset, folder / "raw", folder / f"store{workers}", workers=workers)
    took, worked = time.perf_counter() - started, cpu_seconds() - cpu
    count = sum(report["images"].values())
    return {
        "processes": workers,
        "n": count,
        "images_per_s": count / took,
        # The pool's processes are not waited for, so their time is not known.
        "cpu_ms_per_image": worked / count * 1000 if workers == 1 else "",
    }


def eaten(images: int = 8) -> list[dict]:
    """Images a second that a ViT-B/16 takes on this machine's device, GFLOPs by the project's count."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    architecture = named_architecture("vit_b_16")
    model = build(architecture, CLASSES).to(device)
    pixels = torch.randn(images, 3, SIDE, SIDE, device=device)
    gflops = vit_flops(architecture, CLASSES)

    def forward() -> None:
        with torch.inference_mode():
            model(pixels).sum().item()

    def train() -> None:
        model(pixels).logsumexp(1).mean().backward()
        model.zero_grad()

    rows = []
    for name, work, cost in (("features", forward, gflops), ("training", train, 3 * gflops)):
        times = []
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            for _ in range(4):
                started = time.perf_counter()
                work()
                if device.type == "cuda":
                    torch.cuda.synchronize()
                times.append(time.perf_counter() - started)
        rows.append({"what": name, "gflops": float(cost), "images_per_s": images / min(times[1:])})
    return rows


def cached_features(folder: Path, images: int) -> list[dict]:
    """Reading one block and all blocks of a feature file of a ViT-B/16, cold."""
    folder.mkdir()
    shape, rows = (images, 1, BLOCKS, 2, DIM), []
    features = np.lib.format.open_memmap(
        folder / "train.npy", mode="w+", dtype=np.float32, shape=shape
    )
    for first in range(0, images, 1000):
        features[first : first + 1000] = np.random.default_rng(first).random(shape[1:])
    features.flush()
    megabytes = features.nbytes / 1e6
    del features
    wanted = Rows(np.arange(images), np.array(["train"] * images))
    for name, blocks in (("one block", [BLOCKS]), ("all blocks", range(1, BLOCKS + 1))):
        forget(folder / "train.npy")
        with step(rows, f"{name} of a {megabytes:.0f} MB file"):
            read = read_features(folder, wanted, list(blocks))
        rows[-1]["step"] += f": {read.nbytes / 1e6:.0f} MB"
        del read
    return rows


def main(files: int = 133_117, photos: int = 1000, images: int = 50_000) -> None:
    """Print the tables."""
    print(f"{os.cpu_count()} cores, {environment()['processor']}, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        show("Listing; MB", alone(listed, folder / "listed", files))
        mirror = os.environ.get("FRUGALVIT_MIRROR")
        if mirror:
            archive = Path(mirror) / "flowers102_256px.tar"
            size = write_photos(archive, folder / "photos", photos)
            rows = [alone(decoded, folder / "photos", folder, workers) for workers in (1, 2)]
            show(f"Decoding {WIDTH} x {HEIGHT} px, {size / 1000:.0f} kB a file", rows)
        else:
            print("\nFRUGALVIT_MIRROR is unset: no photos to decode")
        show(
            "Cached features of a ViT-B/16, cold; MB", alone(cached_features, folder / "f", images)
        )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    show(f"ViT-B/16, batch 8, {device_name(device)}, {torch.get_num_threads()} threads", eaten())
