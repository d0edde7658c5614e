"""Runs of every method that were never trained: folders with weights drawn at random, and their tables.

As `frugalvit predict` reads them, with their study around them, in a second and without Snakemake.
"""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import save_file

from frugalvit.data.store import Store
from frugalvit.files import read_json, sha256_file, write_csv, write_json
from frugalvit.methods import registry
from frugalvit.methods.trained import MethodRecipe
from frugalvit.operating_point import COLUMNS, Point
from tests.small_study import method_settings

SEED = 3


def around(study: Path, root: Path) -> Path:
    """A study's folders as the workflow lays them; returns that of its runs."""
    shutil.copytree(study / "store", root / "data" / "digits" / "store")
    results = root / "results" / "made"
    shutil.copytree(study / "base", results / "base")
    (results / "splits").mkdir(parents=True)
    shutil.copy(study / "assignments.csv", results / "splits" / "assignments.csv")
    return results / "runs"


def make_run(
    runs: Path,
    name: str,
    method: str,
    points: tuple[Point, ...] = (),
    tables: dict[str, Any] | None = None,
    spread: float = 0.5,
    **keys: Any,
) -> Path:
    """The folder of a run whose answers differ from image to image.

    Args:
        runs: as `around` gives it.
        name: of the run.
        method: of the run.
        points: operating points.
        tables: JSON files besides, by name.
        spread: of what is added to every matrix.
        keys: of its experiment.
    """
    root, results, folder = runs.parents[2], runs.parent, runs / name
    folder.mkdir(parents=True)
    store = Store(root / "data" / "digits" / "store")
    base = read_json(results / "base" / "card.json")
    settings = {"method": method, "dropout": 0.0, "stochastic_depth": 0.0, "seed": SEED}
    settings |= {"preprocessing": base["preprocessing"], **method_settings(method, **keys)}
    torch.manual_seed(SEED)
    recipe = MethodRecipe(method)
    model = recipe.start(settings, results / "base", None, len(store.class_names)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            # Biases and norms less: they are the same for every image.
            weight.add_(torch.randn_like(weight), alpha=spread if weight.dim() == 2 else 0.02)
    save_file(model.state_dict(), folder / "weights.safetensors")
    card = {
        "run": name, "seed": SEED, "settings": settings, "precision": "32-true",
        "preprocessing": base["preprocessing"], "classes": store.class_names,
        "square": {"resize": 24, "crop": 24, "max_pixels": 10**8, "stretch": None},
        "sha256": {
            "index": sha256_file(store.folder / "index.csv"),
            "assignments": sha256_file(results / "splits" / "assignments.csv"),
        },
        "weights_sha256": sha256_file(folder / "weights.safetensors"),
    }  # fmt: skip
    write_json(folder / "card.json", card | {"method": method, **recipe.describe(model)})
    if registry.method(method).adaptive:
        rows = [dict.fromkeys(COLUMNS) | point.columns for point in points]
        write_csv(folder / "operating_points.csv", pd.DataFrame(rows, columns=COLUMNS))
    for file, content in (tables or {}).items():
        write_json(folder / file, content)
    return folder
