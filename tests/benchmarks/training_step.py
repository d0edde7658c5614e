"""The training loop against its bare model: forward, backward and optimiser on one fixed batch.

The loop reads the store, augments, computes losses and measures, and validates. Each of its epochs is
followed by as many bare steps, of our model and of torchvision's own forward, on one thread where
there is no GPU. Two models: the embedded study's, as its runs train it whole, and a ViT-S/16 at 224 px
with random crops and flips.
"""

import copy
import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from torchvision.models import VisionTransformer

from frugalvit.config.experiments import run_settings
from frugalvit.config.schema import merge, validate
from frugalvit.config.study import load_study
from frugalvit.data.batches import ImageSet, batches
from frugalvit.data.prepare import prepare
from frugalvit.data.store import Store
from frugalvit.devices.fabric import Fabric, device_name, make_fabric
from frugalvit.methods.trained import MethodRecipe
from frugalvit.models.architectures import ARCHITECTURE_KEYS, named_architecture
from frugalvit.models.backbone import architecture_of
from frugalvit.models.base import load_card
from frugalvit.models.export import export_base
from frugalvit.provenance import environment
from frugalvit.training.loop import Trainer
from frugalvit.training.passes import Passes
from frugalvit.training.phases import RunData
from tests.bases import make_random_base
from tests.benchmarks.turns import ratio, seconds_of

ROOT = Path(__file__).resolve().parents[2]
BASE = ("weights.safetensors", "card.json")
EPOCHS = 7  # of which the first is not counted
RECIPE = MethodRecipe("fine_tune")


@dataclass
class Timed(Trainer):
    """A trainer that notes the seconds of its parts, epoch by epoch."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def noted(self, part: str, work: Callable[..., Any], *arguments: Any) -> Any:
        """What `work` returns; its seconds go to `part`."""
        results: list[Any] = []
        took = seconds_of(lambda: results.append(work(*arguments)), self.fabric.device)
        self.seconds[part].append(took)
        return results[0]

    @cached_property
    def passes(self) -> Passes:
        """Those of every trainer, timed."""
        return TimedPasses(self.share, self.data, self.settings["seed"], self.noted)


@dataclass(frozen=True)
class TimedPasses(Passes):
    """Passes whose seconds are noted."""

    noted: Callable[..., Any]

    def train(self, *arguments: Any) -> dict[str, float]:
        """Noted as `training`."""
        return self.noted("training", super().train, *arguments)

    def validate(self, *arguments: Any) -> dict[str, float]:
        """Noted as `validation`."""
        return self.noted("validation", super().validate, *arguments)


def embedded(folder: Path) -> dict:
    """A fifth of the embedded study's images, and its base; a phase that trains all."""
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    config["dataset"]["digits"] |= {"train": 1024, "valid": 123, "test": 10}  # whole batches
    study = load_study(config)
    prepare(study.datasets[study.dataset], folder / "raw", folder / "store")
    shipped = [ROOT / "config/bases/digits" / file for file in BASE]
    export_base(
        study.config["base"], *(folder / "base" / file for file in BASE), pretrained=shipped
    )
    settings = study.runs["unfreeze_last-s0"].settings
    whole = next(phase for phase in settings["schedule"] if phase["train"] == "all")
    return settings | {"schedule": [whole | {"epochs": EPOCHS}], "keep": "last"}


def small(folder: Path) -> dict:
    """Images of 256 px (16 train, 2 valid) and a random ViT-S/16; a phase that trains all of it."""
    digits = {"canvas": 256, "train": 16, "valid": 2, "test": 2, "clutter": 3, "seed": 0}
    dataset = validate({"source": "digits", "name": "large", "digits": digits}, "dataset")
    prepare(dataset | {"resize": 256, "crop": 256}, folder / "raw", folder / "store")
    architecture = named_architecture("vit_small")
    make_random_base(folder / "base", architecture, architecture["image_size"])
    augment = {"horizontal_flip": 0.5, "crop_scale": [0.6, 1.0]}
    given = {"batch_size": 8, "lr": 1e-4, "layer_decay": 1.0, "clip_norm": 1.0, "augment": augment}
    training = merge(validate({}, "training"), given)
    return run_settings("fine_tune", 0, training, [{"train": "all", "epochs": EPOCHS}])


def measure(fabric: Fabric, folder: Path, settings: dict) -> tuple[dict[str, np.ndarray], int]:
    """Seconds `[epochs]` of the loop's parts, bare steps and data alone; images an epoch."""
    store = Store(folder / "store")
    preprocessing = load_card(folder / "base")["preprocessing"]
    data = RunData(store, store.ids("train"), store.ids("valid"), preprocessing)
    torch.manual_seed(0)
    model = RECIPE.start(settings, folder / "base", None, len(store.class_names))
    phase = settings["schedule"][0]
    items = ImageSet(store, data.train_ids, preprocessing, phase["augment"] or None)
    fixed = [part.to(fabric.device) for part in items.__getitems__([*range(phase["batch_size"])])]

    def steps_of(network: VisionTransformer) -> Callable[[], None]:
        network.to(fabric.device).train()
        rates = {"lr": phase["lr"], "weight_decay": phase["weight_decay"]}
        optimizer = torch.optim.AdamW(network.parameters(), **rates)

        def steps() -> None:
            for _ in range(-(-len(items) // phase["batch_size"])):
                optimizer.zero_grad()
                with fabric.autocast():
                    loss = F.cross_entropy(network(fixed[0]), fixed[1])
                loss.backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), phase["clip_norm"])
                optimizer.step()

        return steps

    def data_alone() -> None:
        for pixels, _ in batches(items, phase["batch_size"]):
            pixels.to(fabric.device)

    shape = {key: architecture_of(model)[key] for key in (*ARCHITECTURE_KEYS, "num_classes")}
    torchvisions = VisionTransformer(**shape)
    torchvisions.load_state_dict(model.state_dict())
    others = {
        "bare": steps_of(copy.deepcopy(model)),
        "torchvision's": steps_of(torchvisions),
        "data": data_alone,
    }
    objectives = RECIPE.objectives(model, settings, None)
    trainer = Timed(model, settings, data, objectives, fabric, folder, "benchmark")
    trainer.after_epoch = lambda _: [trainer.noted(*other) for other in others.items()]
    trainer.fit()
    return {part: np.array(each[1:]) for part, each in trainer.seconds.items()}, len(items)


def main() -> None:
    """Print the table."""
    gpu, threads = int(torch.cuda.is_available()), torch.get_num_threads()
    fabric = make_fabric(gpu, 1)
    print(
        "\nThe training loop, taking turns with its bare model epoch by epoch\n"
        f"{device_name(fabric.device)}, {environment()['processor']}, torch {torch.__version__}\n\n"
        "| model | what | ms a training image (median) | over bare steps (middle half of epochs) |\n"
        "|---|---|---|---|"
    )
    for name, prepared in (("embedded study", embedded), ("ViT-S/16 at 224 px", small)):
        with tempfile.TemporaryDirectory() as temporary:
            times, images = measure(fabric, Path(temporary), prepared(Path(temporary)))
        told = {
            "bare steps on one batch": times["bare"],
            "the same, torchvision's forward": times["torchvision's"],
            "training: data, losses, measures": times["training"],
            "training and validation": times["training"] + times["validation"],
            "validation alone": times["validation"],
            "data alone: store, augmentation": times["data"],
        }
        for what, each in told.items():
            took = 1e3 * float(np.median(each)) / images
            print(f"| {name} | {what} | {took:.2f} | {ratio(each, times['bare'])} |", flush=True)
    print(f"\n{EPOCHS - 1} epochs of 1,024 and 16 images.")
    torch.set_num_threads(threads)
