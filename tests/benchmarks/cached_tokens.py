"""An epoch of the last blocks of twelve, from stored tokens of the first ones against from images.

Two trainers take turns, epoch by epoch: a ViT-S/16 at 224 px with random weights, 32 images to train
and 8 to validate with, no augmentation, one thread where there is no GPU. What is stored is written
before the first epoch; how long that takes stands beside it. Logits are compared on images that train,
with heads that are not zero.

A block that trains costs about three times its forward pass, a frozen one its forward pass alone: with k
of 12 frozen no training step gets faster than (k + 3 (12 - k)) / (3 (12 - k)) times, a third where half
are frozen. Validation gets 12 / (12 - k) times faster.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from frugalvit.config.experiments import run_settings
from frugalvit.config.schema import merge, validate
from frugalvit.data.batches import ImageSet
from frugalvit.data.prepare import prepare
from frugalvit.data.store import Store
from frugalvit.devices.fabric import Fabric, device_name, make_fabric
from frugalvit.methods import registry
from frugalvit.methods.trained import MethodRecipe
from frugalvit.models.architectures import named_architecture
from frugalvit.models.base import load_card
from frugalvit.models.heads import first_half, second_half
from frugalvit.provenance import environment
from frugalvit.training.loop import Progress, Trainer
from frugalvit.training.phases import Patience, RunData
from tests.bases import make_random_base
from tests.benchmarks.turns import ratio, take_turns

SECONDS = 60.0  # of turns, a method
IMAGES = 32 + 8
CASES = (  # method, blocks frozen
    ("fine_tune", 6), ("localize", 6), ("early_exit", 6), ("avit", 6), ("fine_tune", 9),
)  # fmt: skip
COLUMNS = (
    "method",
    "blocks frozen",
    "most that a step can gain",
    "live, ms an image",
    "stored, ms an image",
    "live over stored (middle half of turns)",
    "epochs that storing costs",
    "kB stored an image",
    "largest difference of a logit",
)


def prepare_inputs(folder: Path) -> None:
    """Drawn digits of 224 px and a random ViT-S/16."""
    digits = {"canvas": 224, "train": 32, "valid": 8, "test": 2, "clutter": 3, "seed": 0}
    dataset = validate({"source": "digits", "name": "large", "digits": digits}, "dataset")
    prepare(dataset | {"resize": 224, "crop": 224}, folder / "raw", folder / "store")
    architecture = named_architecture("vit_small")
    make_random_base(folder / "base", architecture, architecture["image_size"])


def trainer_of(fabric: Fabric, folder: Path, method: str, frozen: int, cached: bool) -> Trainer:
    """A trainer whose only phase trains the last blocks."""
    given = {"batch_size": 8, "lr": 1e-4, "clip_norm": 1.0, "cache_tokens": cached}
    training = merge(validate({}, "training"), given)
    raw = validate({"method": method}, "experiment")
    own = registry.method(method).training(raw)
    phase = {"train": {"blocks": 12 - frozen}, "epochs": 100}
    settings = run_settings(method, 0, training, [phase]) | own
    store, recipe = Store(folder / "store"), MethodRecipe(method)
    preprocessing = load_card(folder / "base")["preprocessing"]
    data = RunData(
        store,
        store.ids("train"),
        store.ids("valid"),
        preprocessing,
        boxed=recipe.boxed,
        batch_size=8,
    )
    torch.manual_seed(0)
    model = recipe.start(settings, folder / "base", None, len(store.class_names))
    for part in model.modules():
        if isinstance(part, torch.nn.Linear) and not part.weight.any():
            torch.nn.init.normal_(part.weight, std=0.02)
    objectives = recipe.objectives(model, settings, None)
    scratch = folder / f"{method}-{cached}"
    scratch.mkdir()
    return Trainer(model, settings, data, objectives, fabric, scratch, "benchmark")


def epochs_of(trainer: Trainer) -> tuple[Callable[[], Any], float]:
    """A call that trains and validates one epoch, and how long its stage took to prepare."""
    trainer.model.to(trainer.fabric.device)
    progress, patience = Progress(), Patience()
    started = time.perf_counter()
    stage = trainer._prepare(progress)
    took = time.perf_counter() - started

    def epoch() -> None:
        row, *_ = trainer._epoch(stage, progress, patience)
        progress.history.append(row)

    return epoch, took


@torch.inference_mode()
def largest_difference(trainer: Trainer, frozen: int) -> tuple[float, int]:
    """Largest difference of an output, stored against live, and bytes stored an image."""
    model, device = trainer.model.eval(), trainer.fabric.device
    images = ImageSet(trainer.data.store, trainer.data.train_ids, trainer.data.preprocessing)
    pixels = images.__getitems__([*range(8)])[0].to(device)
    state = first_half(model, frozen)(pixels)
    stored = sum(part[0].numel() * part.element_size() for part in state)
    live, cached = model(pixels), second_half(model, frozen)(state)
    first, other = (out if isinstance(out, torch.Tensor) else out[0] for out in (live, cached))
    return float((first - other).abs().max()), stored


def main() -> None:
    """Print the table."""
    gpu, threads = int(torch.cuda.is_available()), torch.get_num_threads()
    fabric = make_fabric(gpu, 1)
    print(
        "\nAn epoch of the last of 12 blocks, training and validation, from stored tokens and live, "
        f"taking turns\nViT-S/16 at 224 px, {device_name(fabric.device)}, "
        f"{environment()['processor']}, torch {torch.__version__}\n\n"
        f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"
    )
    for method, frozen in CASES:
        with tempfile.TemporaryDirectory() as temporary:
            prepare_inputs(Path(temporary))
            trainers = {
                name: trainer_of(fabric, Path(temporary), method, frozen, name == "stored")
                for name in ("live", "stored")
            }
            difference, stored = largest_difference(trainers["stored"], frozen)
            calls, took = {}, 0.0
            for name, trainer in trainers.items():
                calls[name], took = epochs_of(trainer)  # of the last, which stores
            times = take_turns(calls, fabric.device, SECONDS)
        live, cached = (1e3 * float(np.median(times[name])) / IMAGES for name in ("live", "stored"))
        cells = [
            method,
            frozen,
            f"{1 + frozen / (3 * (12 - frozen)):.2f}",
            f"{live:.1f}",
            f"{cached:.1f}",
            ratio(times["live"], times["stored"]),
            f"{took / np.median(times['live']):.2f}",
            f"{stored / 1e3:.0f}",
            f"{difference:.1e}",
        ]
        print(f"| {' | '.join(map(str, cells))} |", flush=True)
    torch.set_num_threads(threads)
