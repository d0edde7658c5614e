"""What commands share: options of the machine, and how names are shown."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from frugalvit.errors import ConfigError

if TYPE_CHECKING:
    from frugalvit.devices.fabric import Fabric

RUN = click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
DEVICE = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "gpu"]),
    default="auto",
    help="Where to compute; auto takes a GPU where there is one.",
)
POINT = click.option("--point", help="Name of an operating point; the chosen one without it.")
SPLIT = click.option(
    "--split", type=click.Choice(["test", "valid", "train"]), default="test", show_default=True
)
DATA = click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the study's store; found beside results/ without it.",
)
BATCH = click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True)
MOST_WORKERS = 8


def fabric_on(
    device: str, precision: str, workers: int | None, batches: int
) -> "tuple[Fabric, int]":
    """Where to compute, and how many processes decode.

    Args:
        device: of `DEVICE`.
        precision: of the run's card.
        workers: asked for; by the machine and the number of batches where None.
        batches: of images.

    Raises:
        ConfigError: no GPU is there.
    """
    import torch

    from frugalvit.devices.fabric import make_fabric

    gpus = gpus_on(device, 1)
    cores = torch.get_num_threads()
    if workers is None:
        most = MOST_WORKERS if gpus else 1
        workers = min(most, cores - 1) if batches > 2 else 0
    return make_fabric(gpus, max(1, cores - workers), precision), workers


def gpus_on(device: str, asked: int) -> int:
    """How many GPUs to use, of those asked for; 0 for the CPU.

    Raises:
        ConfigError: none is there.
    """
    import torch

    there = torch.cuda.is_available() or torch.backends.mps.is_available()
    if device == "gpu" and not there:
        raise ConfigError("--device: no GPU found; use cpu")
    if device == "cpu" or not there:
        return 0
    return max(asked, int(device == "gpu"))


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def name_of(path: Path) -> str:
    """A file's name as text that any stream can hold."""
    return os.fspath(path).encode("utf-8", "backslashreplace").decode()
