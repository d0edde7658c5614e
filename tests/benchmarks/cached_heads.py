"""Eight head-only runs through cached features against the same runs through the backbone.

Three seeds and a five-point grid, 5 epochs each, on the same 200 images and the ViT-S/14 at 224 px,
one after the other in one process: what the cache saves, and that it changes no logit.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import torch

from frugalvit.config.experiments import run_settings
from frugalvit.config.schema import merge, validate
from frugalvit.data.batches import ImageSet
from frugalvit.data.feature_files import read_features
from frugalvit.data.prepare import prepare
from frugalvit.data.sources.listing import download
from frugalvit.data.store import Store
from frugalvit.devices.fabric import device_name, make_fabric
from frugalvit.evaluation.predict import predict, predict_from_features
from frugalvit.methods.trained import MethodRecipe, load_run
from frugalvit.models.base import build_from_base, load_card
from frugalvit.models.export import export_base
from frugalvit.models.heads import feature_blocks
from frugalvit.provenance import environment
from frugalvit.training.features import extract_to_file, image_sets
from frugalvit.training.runs import RunFiles, train_run

TRAIN, VALID, EPOCHS = 200, 20, 5
RUNS = [(seed, 0.01) for seed in (0, 1, 2)] + [(0, lr) for lr in (0.001, 0.002, 0.005, 0.02, 0.05)]


def prepare_inputs(folder: Path, mirror: Path) -> None:
    """200 training and 50 validation images of Flowers-102, and the base."""
    dataset = validate(
        {"source": "archive", "path": "flowers102_256px.tar", "resize": 256, "crop": 224,
         "limit_per_class": 2, "name": "flowers"},
        "dataset",
    )  # fmt: skip
    download(dataset, folder / "raw", mirror)
    prepare(dataset, folder / "raw", folder / "store", workers=2)
    index = Store(folder / "store").index
    split = index["split"].where(index["split"] != "test", "unused")
    for name, most in (("train", TRAIN), ("valid", VALID)):
        split[split[split == name].index[most:]] = "unused"
    index.assign(source_split=index["split"], split=split).to_csv(
        folder / "assignments.csv", index=False
    )
    base = validate(
        {"source": "file", "file": "vit_small_patch14_saliency.safetensors", "image_size": 224},
        "base",
    )
    weights, card = folder / "base" / "weights.safetensors", folder / "base" / "card.json"
    export_base(base, weights, card, mirror=mirror)


def train_all(folder: Path, name: str, cache: bool) -> float:
    """Seconds of all eight runs; with a cache, its one extraction counts too."""
    fabric = make_fabric(int(torch.cuda.is_available()), torch.get_num_threads(), "32-true")
    recipe, how = MethodRecipe("fine_tune"), {"batch_size": 32, "workers": 0, "code": "bench"}
    started = time.perf_counter()
    features = {}
    if cache:
        store = Store(folder / "store")
        model = fabric.setup_module(build_from_base(folder / "base", 0)).module
        seen = load_card(folder / "base")["preprocessing"]
        features = {"plain": folder / "features"}
        for split, most in (("train", TRAIN), ("valid", VALID), ("test", 0)):
            ids = store.ids(split)[:most]
            sets = image_sets(store, ids, seen, 0, {}, seed=0)
            extract_to_file(fabric, model, sets, folder / "features" / f"{split}.npy", 32)
    for number, (seed, lr) in enumerate(RUNS):
        training = merge(validate({}, "training"), {"lr": lr, "cache_features": cache})
        settings = run_settings("fine_tune", seed, training, [{"train": "head", "epochs": EPOCHS}])
        files = RunFiles(
            folder / name / str(number), folder / "store", folder / "assignments.csv",
            folder / "base", features,
        )  # fmt: skip
        train_run(fabric, str(number), settings, files, recipe, **how)
    return time.perf_counter() - started


def largest_difference(folder: Path) -> float:
    """Largest difference of a logit, cached against live, over the training images."""
    fabric = make_fabric(int(torch.cuda.is_available()), torch.get_num_threads(), "32-true")
    store = Store(folder / "store")
    model, card = load_run(folder / "cached" / "0")
    ids = store.ids("train")[:TRAIN]
    images = ImageSet(store, ids, card["preprocessing"])
    blocks = feature_blocks(model)
    features = read_features(folder / "features", images, blocks)[:, 0]
    cached = predict_from_features(fabric, model, features, 32)
    return (cached - predict(fabric, model, images, 32)).abs().max().item()


def main() -> None:
    """Print the table."""
    mirror = os.environ.get("FRUGALVIT_MIRROR")
    if not mirror:
        sys.exit("FRUGALVIT_MIRROR is unset: this benchmark needs the folder with the real data")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare_inputs(folder, Path(mirror))
        fabric = make_fabric(int(torch.cuda.is_available()), torch.get_num_threads())
        cached = train_all(folder, "cached", cache=True)
        live = train_all(folder, "live", cache=False)
        difference = largest_difference(folder)
    print(f"\n{len(RUNS)} head-only runs, {EPOCHS} epochs, {TRAIN} training and {VALID} validation "
          f"images, ViT-S/14 at 224 px\n{device_name(fabric.device)}, {environment()['processor']}, "
          f"torch {torch.__version__}\n")  # fmt: skip
    print("| way | seconds | times less |\n|---|---|---|")
    print(f"| backbone every epoch | {live:.1f} | 1.0 |")
    print(f"| cached, extraction included | {cached:.1f} | {live / cached:.1f} |")
    print(f"\nlargest difference of a logit, cached against live: {difference:.1e}")
