"""A tiny prepared study for tests of training, and what they do with its files."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from frugalvit.config.schema import validate
from frugalvit.data.prepare import prepare
from frugalvit.data.store import Store
from frugalvit.devices.fabric import make_fabric
from frugalvit.methods import registry
from frugalvit.models.base import build_from_base, load_base
from frugalvit.training.features import extract_to_file, image_sets
from frugalvit.training.loop import Trainer
from frugalvit.training.runs import RunFiles
from tests.bases import make_random_base

ARCHITECTURE = {
    "patch_size": 8, "num_layers": 3, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32,
}  # fmt: skip


def make_study(folder: Path) -> Path:
    """A tiny prepared dataset, its splits, a random base and the base's cached features."""
    digits = {"canvas": 24, "train": 96, "valid": 48, "test": 32, "clutter": 1, "seed": 0}
    dataset = validate({"source": "digits", "name": "digits", "digits": digits}, "dataset")
    dataset |= {"resize": 24, "crop": 24}
    prepare(dataset, folder / "raw", folder / "store")
    store = Store(folder / "store")
    assignments = folder / "assignments.csv"
    store.index.assign(source_split=store.index["split"]).to_csv(assignments, index=False)
    make_random_base(folder / "base", ARCHITECTURE, image_size=24)
    fabric = make_fabric(0, 1)
    model = build_from_base(folder / "base", 0)
    preprocessing = load_base(folder / "base")[1]["preprocessing"]
    for name, views, augment in (("plain", 0, {}), ("views", 3, {"shift": 3})):
        for split in ("train", "valid", "test"):
            ids = store.ids(split)
            sets = image_sets(store, ids, preprocessing, views, augment, seed=0)
            extract_to_file(fabric, model, sets, folder / "features" / name / f"{split}.npy", 32)
    return folder


# For two ways of computing one thing: AdamW makes full steps of gradients that are rounding alone.
SGD = {"optimizer": "sgd", "lr": 0.1}


def method_settings(method: str, **keys) -> dict:
    """What a method adds to a run's settings, of an experiment with these keys."""
    raw = validate({"method": method, **keys}, "experiment")
    return registry.method(method).training(raw)


def files_of(study, folder, cached=True):
    return RunFiles(
        folder=folder,
        store=study / "store",
        assignments=study / "assignments.csv",
        base=study / "base",
        features={"plain": study / "features" / "plain"} if cached else {},
    )


def weights_bytes(folder):
    return (folder / "weights.safetensors").read_bytes()


def weights_of(folder):
    """A run's weights, without what no loss depends on.

    A key's bias adds the same to all of a query's scores: its gradient is rounding alone, which AdamW
    makes into steps of full size.
    """
    weights = load_file(folder / "weights.safetensors")
    for name in weights:
        if name.endswith("in_proj_bias"):
            query, _, value = weights[name].chunk(3)
            weights[name] = torch.cat([query, value])
    return weights


class KilledError(BaseException):
    """Stands for SIGKILL: nothing in the loop may catch it."""


def killed_after(last_epoch):
    """A Trainer that dies once it has saved an epoch."""

    class Killed(Trainer):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            self.after_epoch = self.die

        def die(self, epoch):
            if epoch == last_epoch:
                raise KilledError

    return Killed
