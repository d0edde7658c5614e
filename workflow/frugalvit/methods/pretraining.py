"""The pretraining of a base: an ordinary run whose own base is random."""

from pathlib import Path
from typing import Any

from frugalvit.devices.fabric import Fabric
from frugalvit.jobs.processes import launch
from frugalvit.methods.method import PLAIN
from frugalvit.methods.trained import MethodRecipe
from frugalvit.models.export import export_random
from frugalvit.training.runs import RunFiles, train_run


def pretrain(
    fabric: Fabric,
    settings: dict[str, Any],
    base: dict[str, Any],
    folder: Path,
    store: Path,
    assignments: Path,
    *,
    batch_size: int,
    workers: int,
    code: str,
    halve: bool = False,
) -> None:
    """Train a base from nothing, in the fabric's processes.

    Args:
        fabric: not launched yet.
        settings: of the run.
        base: `architecture`, `image_size`, `mean` and `std`.
        folder: of what it writes.
        store: folder of its images.
        assignments: table of its splits.
        batch_size: of evaluation.
        workers: processes that augment images.
        code: digest of the code.
        halve: compute a batch for which memory runs out in parts.
    """
    export_random(base, folder / "random", seed=settings["seed"])
    files = RunFiles(folder, store, assignments, base=folder / "random", features={})
    launch(
        fabric,
        train_run,
        "pretrain",
        settings,
        files,
        MethodRecipe(PLAIN),
        batch_size=batch_size,
        workers=workers,
        code=code,
        halve=halve,
    )
