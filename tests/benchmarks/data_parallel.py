"""One epoch in 1, 2 and 4 processes on the same global batches: how far the numbers differ.

The embedded study's images and base; the whole model trains. Each of several processes has one thread.
"""

import json
import sys
import tempfile
from pathlib import Path

import pandas as pd
import torch
import yaml

from frugalvit.config.study import load_study
from frugalvit.data.batches import ImageSet
from frugalvit.data.prepare import prepare
from frugalvit.data.store import Store
from frugalvit.devices.fabric import Fabric, make_fabric
from frugalvit.jobs.processes import launch
from frugalvit.methods.trained import MethodRecipe, load_run
from frugalvit.models.export import export_base
from frugalvit.training.runs import RunFiles, train_run
from tests.small_study import weights_of

ROOT = Path(__file__).resolve().parents[2]
# The first is what the others are held against; the second differs from it by rounding alone.
KINDS = (
    ("1 process, 1 thread", 1, 1),
    ("1 process, 2 threads", 1, 2),
    ("2 processes", 2, 2),
    ("4 processes", 4, 4),
)
IMAGES = 2000
WAYS = (("sgd", "32-true"), ("adamw", "32-true"), ("adamw", "64-true"))
BASE = ("weights.safetensors", "card.json")
RUNS = ("unfreeze_last-s0", "early_exit-s0", "avit-s0")


def settings_of() -> dict[str, dict]:
    """The embedded study's own settings, cut to one epoch of the whole model."""
    config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    study = load_study(config)
    cut = {}
    for run in RUNS:
        settings = study.runs[run].settings
        whole = next(phase for phase in settings["schedule"] if phase["train"] == "all")
        cut[run] = settings | {"schedule": [{**whole, "epochs": 1}], "keep": "last"}
    return cut


def train_all(fabric: Fabric, folder: Path, place: Path, optimizer: str) -> None:
    """Every run, from the shipped base."""
    for run, settings in settings_of().items():
        phase = settings["schedule"][0] | {"optimizer": optimizer}
        files = RunFiles(
            place / run, folder / "store", folder / "assignments.csv", folder / "base", {}
        )
        one_epoch = settings | {"schedule": [phase]}
        train_run(
            fabric,
            run,
            one_epoch,
            files,
            MethodRecipe(one_epoch["method"]),
            batch_size=64,
            workers=0,
            code="benchmark",
        )


def logits_of(folder: Path, store: Store) -> torch.Tensor:
    """Logits of the trained run for the validation images."""
    model, card = load_run(folder)
    pixels, _ = ImageSet(store, store.ids("valid"), card["preprocessing"]).__getitems__(
        list(range(len(store.ids("valid"))))
    )
    with torch.inference_mode():
        outputs = model.eval()(pixels)
    return getattr(outputs, "logits", outputs)


def difference(one: Path, other: Path, store: Store) -> dict[str, str]:
    """Largest differences of two trainings of one run."""
    histories = [pd.read_csv(folder / "history.csv") for folder in (one, other)]
    losses = [history[["train_loss", "valid_loss"]].to_numpy() for history in histories]
    accuracy = [history["valid_accuracy"].iloc[0] for history in histories]
    first, second = weights_of(one), weights_of(other)
    return {
        "training and validation loss": f"{abs(losses[0] - losses[1]).max():.1e}",
        "validation accuracy": f"{accuracy[0]:.4f}, {accuracy[1]:.4f}",
        "logits": f"{float((logits_of(one, store) - logits_of(other, store)).abs().max()):.1e}",
        "weights": f"{max(float((first[name] - second[name]).abs().max()) for name in first):.1e}",
        "seconds": ", ".join(f"{history['seconds'].iloc[0]:.1f}" for history in histories),
    }


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        config = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
        config["dataset"]["digits"]["train"] = IMAGES
        study = load_study(config)
        prepare(study.datasets[study.dataset], folder / "raw", folder / "store")
        store = Store(folder / "store")
        index = store.index.drop(columns="row")
        index.assign(source_split=index["split"]).to_csv(folder / "assignments.csv", index=False)
        shipped = [ROOT / "config/bases/digits" / file for file in BASE]
        made = [folder / "base" / file for file in BASE]
        export_base(study.config["base"], *made, pretrained=shipped)
        rows = []
        for optimizer, precision in WAYS:
            way = f"{optimizer}, {precision}"
            for name, count, threads in KINDS:
                fabric = make_fabric(0, threads, precision, cpu_processes=count)
                launch(fabric, train_all, folder, folder / way / name, optimizer)
            for run in RUNS:
                places = [folder / way / name / run for name, _, _ in KINDS]
                for (name, _, _), place in zip(KINDS[1:], places[1:]):
                    words = {"optimizer": way, "run": run, "one process against": name}
                    rows.append(words | difference(places[0], place, store))
        card = json.loads((places[0] / "card.json").read_text())
        print(f"one epoch of {card['n']['train']} images, {card['environment']['processor']}")
        pd.DataFrame(rows).to_csv(sys.stdout, sep="\t", index=False)
