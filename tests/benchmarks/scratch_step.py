"""Networks from scratch: the whole training step against its bare network, beside a naive loop.

The shipped studies' networks and recipes, on synthetic images of the same size: FashionMNIST's best ViT
and CIFAR-10's ViT. The loop reads the store, draws and computes random views in whole batches, blends
where the recipe does, computes losses and measures, clips, steps and averages weights. Its epochs take
turns with as many bare steps (forward, loss, backward, optimizer) on one batch, with data alone, and
with the sources' way: a PIL image an item, torchvision's transforms image by image, a loss read at
every step.
"""

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from frugalvit.config.reading import read_yaml
from frugalvit.config.schema import validate
from frugalvit.config.study import load_study
from frugalvit.data.batches import ImageSet, batches
from frugalvit.data.prepare import prepare
from frugalvit.data.store import Store
from frugalvit.devices.fabric import Fabric, device_name, make_fabric
from frugalvit.methods.trained import MethodRecipe
from frugalvit.provenance import environment
from frugalvit.training.mixing import Mixing
from frugalvit.training.phases import RunData
from frugalvit.words import MIXES
from tests.benchmarks.training_step import ROOT, Timed
from tests.benchmarks.turns import ratio

EPOCHS = 5  # of which the first is not counted
IMAGES = 512  # an epoch
RUNS = (
    ("fashion_mnist", "best_vit_source-s0"),
    ("fashion_mnist", "best_vit_ours-s0"),
    ("cifar10", "vit_source-s0"),
    ("cifar10", "vit_ours-s0"),
)
RECIPE = MethodRecipe("scratch")
# The sources' own transforms, image by image.
NAIVE: dict[str, list[nn.Module]] = {
    "fashion_mnist": [v2.TrivialAugmentWide()],
    "cifar10": [
        v2.RandomHorizontalFlip(),
        v2.RandomResizedCrop(32, scale=(0.8, 1.0), ratio=(0.9, 1.1)),
    ],
}


class Items(Dataset):
    """An image at a time: an image object is made, transformed and turned into a tensor."""

    def __init__(self, store: Store, images: ImageSet, transforms: list[nn.Module], how: dict):
        self.pixels = np.asarray(store.images("train")[: len(images)])
        self.labels = images.labels
        as_tensor = [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)]
        self.transform = v2.Compose(
            [*transforms, *as_tensor, v2.Normalize(how["mean"], how["std"])]
        )

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, at: int) -> tuple[Tensor, Tensor]:
        return self.transform(Image.fromarray(self.pixels[at])), self.labels[at]


def measure(
    fabric: Fabric, folder: Path, name: str, run: str, changes: dict
) -> dict[str, np.ndarray]:
    """Seconds `[epochs]` of the loop, of bare steps, of data alone and of the naive loop.

    Args:
        fabric: where it computes.
        folder: for files.
        name: of a shipped study.
        run: of it.
        changes: of the run's settings.
    """
    study = load_study(read_yaml(ROOT / "config" / "studies" / f"{name}.yaml"))
    settings = study.runs[run].settings | changes
    settings["schedule"] = [
        {key: value for key, value in settings["schedule"][0].items() if key != "max_inputs"}
        | {"epochs": EPOCHS, "validate_every": EPOCHS, "warmup_epochs": 0}
    ]
    settings["keep"] = "last"
    phase, how = settings["schedule"][0], settings["preprocessing"]
    size = how["image_size"]
    digits = {"canvas": size, "train": IMAGES, "valid": 20, "test": 20, "clutter": 1, "seed": 0}
    dataset = validate({"source": "digits", "name": "synthetic", "digits": digits}, "dataset")
    prepare(dataset | {"resize": size, "crop": size}, folder / "raw", folder / "store")
    store = Store(folder / "store")
    data = RunData(store, store.ids("train"), store.ids("valid"), how)
    torch.manual_seed(0)
    model = RECIPE.start(settings, None, None, len(store.class_names))
    objectives = RECIPE.objectives(model, settings, None)
    trainer = Timed(model, settings, data, objectives, fabric, folder, "benchmark")
    phase = trainer.settings["schedule"][0]
    loss = objectives.training(phase, [], trainer.share)
    augment = {key: value for key, value in phase["augment"].items() if key not in MIXES}
    items = ImageSet(store, data.train_ids, how, augment, 0, False, True)
    naive = Items(store, items, NAIVE[name], how)
    mix = Mixing(phase["augment"], len(store.class_names), 0)

    def stepping(network: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
        network.to(fabric.device).train()
        rates = {"lr": phase["lr"], "weight_decay": phase["weight_decay"]}
        optimizer = torch.optim.AdamW(network.parameters(), **rates)

        def step(images: Tensor, labels: Tensor) -> Tensor:
            optimizer.zero_grad()
            with fabric.autocast():
                outputs = network(images)
            value = loss.losses(outputs, labels, images)["loss"]
            value.backward()
            optimizer.step()
            return value

        return step

    pixels, labels = next(iter(batches(items, phase["batch_size"])))
    fixed = mix(items.view(_moved(pixels, fabric.device)), labels.to(fabric.device))
    bare_step, naive_step = stepping(copy.deepcopy(model)), stepping(copy.deepcopy(model))

    def bare() -> None:
        for _ in range(IMAGES // phase["batch_size"]):
            bare_step(*fixed)

    def data_alone() -> None:
        for given, classes in batches(items, phase["batch_size"]):
            mix(items.view(_moved(given, fabric.device)), classes.to(fabric.device))

    def naively() -> None:
        for images, classes in DataLoader(naive, batch_size=phase["batch_size"], shuffle=True):
            naive_step(images.to(fabric.device), classes.to(fabric.device)).item()

    others = {"bare": bare, "data": data_alone, "naive": naively}
    trainer.after_epoch = lambda _: [trainer.noted(*other) for other in others.items()]
    trainer.fit()
    del trainer.seconds["validation"]
    return {part: np.array(each[1:]) for part, each in trainer.seconds.items()}


def _moved(given: object, device: torch.device) -> object:
    if isinstance(given, Tensor):
        return given.to(device)
    if isinstance(given, dict):
        return {key: _moved(value, device) for key, value in given.items()}
    if isinstance(given, list | tuple):
        return type(given)(_moved(value, device) for value in given)
    return given


def main() -> None:
    """Print the table."""
    gpu, threads = int(torch.cuda.is_available()), torch.get_num_threads()
    fabric = make_fabric(gpu, 1)
    print(
        "\nNetworks from scratch: the training loop, its bare network and a naive loop taking turns\n"
        f"{device_name(fabric.device)}, {environment()['processor']}, torch {torch.__version__}\n\n"
        "| run | images/s: bare steps | whole training | naive loop | bare over whole, medians "
        "(middle half of epochs) | data alone over bare |\n|---|---|---|---|---|---|"
    )
    for name, run in RUNS:
        for compiled in (False, True) if gpu else (False,):
            with tempfile.TemporaryDirectory() as temporary:
                changes = {"compile": True} if compiled else {}
                times = measure(fabric, Path(temporary), name, run, changes)
            speeds = {part: IMAGES / float(np.median(each)) for part, each in times.items()}
            told = " | ".join(f"{speeds[part]:,.0f}" for part in ("bare", "training", "naive"))
            print(
                f"| {name}, {run}{', compiled' if compiled else ''} | {told} "
                f"| {ratio(times['bare'], times['training'])} | {ratio(times['data'], times['bare'])} |",
                flush=True,
            )
    print(f"\n{EPOCHS - 1} epochs of {IMAGES} images; on a CPU the process's own time.")
    torch.set_num_threads(threads)
