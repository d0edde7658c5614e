"""Weights files: read as tensors only, and written reproducibly.

Nothing that a file holds is trusted: pickles are read with `weights_only`, so that no code in them
runs, and everything that is wrong with a file becomes one line that names it.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file as save_safetensors
from torch import Tensor, nn

from frugalvit.errors import WeightsError
from frugalvit.files import atomic_path
from frugalvit.models.weights.opening import State, check_tensors, read_pickle, read_safetensors

# Under which keys training scripts store a model: DeiT and MAE `model`, Lightning `state_dict`,
# DINO its averaged `teacher`; averages over training (timm: `state_dict_ema`, DeiT: `model_ema`)
# where nothing else is there.
_NESTED = ("model", "state_dict", "model_state_dict", "teacher", "module", "net")
_AVERAGED = ("model_ema", "state_dict_ema", "ema_state_dict", "ema")
_DEEPEST = 4


def check_exists(path: Path) -> None:
    """Refuse a missing or an empty file.

    Raises:
        WeightsError: it is one.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; correct the path or fetch the file")
    if path.stat().st_size == 0:
        raise WeightsError(f"{path}: the file is empty; fetch it again")


def read_tensors(path: str | Path) -> State:
    """All tensors of a safetensors file or of a torch pickle, on the CPU, by name.

    Raises:
        WeightsError: see `read_checkpoint`.
    """
    return read_checkpoint(path)[0]


def read_checkpoint(path: str | Path, *, checked: bool = False) -> tuple[State, str | None]:
    """All tensors of a safetensors file or of a torch pickle, on the CPU, by name.

    Args:
        path: the file; its content tells its format, not its name.
        checked: its checksum was compared, so that those inside it need not be.

    Returns:
        The tensors, and under which key of a checkpoint they lay: `model`, `model_ema` …, with dots
        between keys inside each other. None where they are all that the file holds.

    Raises:
        WeightsError: the file is missing, neither of the two, truncated or damaged, a pickle with
            more than tensors in it, or its tensors are none that a ViT can have.
    """
    path = Path(path)
    check_exists(path)
    with path.open("rb") as file:
        start = file.read(64)
    if start[8:9] == b"{":
        return check_tensors(read_safetensors(path), path), None
    if start.startswith((b"PK\x03\x04", b"\x80")):
        state, keys = _tensors_of(read_pickle(path, checked=checked), path)
        return check_tensors(state, path), ".".join(keys) or None
    if re.fullmatch(rb"[\x09\x0a\x0d\x20-\x7e]+", start):
        raise WeightsError(
            f"{path}: text, not weights (a web page or a Git LFS pointer?); fetch the file itself"
        )
    raise WeightsError(f"{path}: neither a safetensors file nor a torch checkpoint, or broken")


def save(path: str | Path, state: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors, atomically; equal tensors give equal files, to the bit."""
    copies = {
        name: state[name].detach().cpu().clone(memory_format=torch.contiguous_format)
        for name in sorted(state)
    }
    with atomic_path(path) as temporary:
        save_safetensors(copies, temporary)


def check_written(path: str | Path, found: str, written: str | None) -> None:
    """Compare a file's checksum with the one that its card noted when this project wrote it.

    Args:
        path: the file.
        found: its SHA-256.
        written: the card's `weights_sha256`; an older card has none, and nothing is compared.

    Raises:
        WeightsError: they differ.
    """
    if written and found != written.lower():
        raise WeightsError(
            f"{path}: its bytes are not those that were written (SHA-256 {found[:12]}…, its card "
            f"says {written[:12]}…): damaged or edited; delete the file and run again, or put back "
            "the right one"
        )


def load_into(model: nn.Module, path: str | Path) -> None:
    """Load a file that `save` wrote into `model`; a file without head leaves the model's as it is.

    Raises:
        WeightsError: the file is unreadable, its tensors are not the model's, or not finite.
    """
    state = read_tensors(path)
    own = model.state_dict()
    headless = not any(name.startswith("heads.") for name in state)
    wanted = {name for name in own if not (headless and name.startswith("heads."))}
    differing = wanted ^ state.keys() | {
        name for name in wanted & state.keys() if own[name].shape != state[name].shape
    }
    if differing:
        raise WeightsError(
            f"{path}: {len(differing)} tensors are not those of the model "
            f"({', '.join(sorted(differing)[:3])}): it was made for another architecture"
        )
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise WeightsError(
                f"{path}: {name} holds values that are not finite; delete the file and run again"
            )
    model.load_state_dict(state, strict=False)


def _tensors_of(value: Any, path: Path) -> tuple[State, list[str]]:
    """The tensors of a checkpoint, at the top or nested under usual keys, and those keys."""
    keys: list[str] = []
    for _ in range(_DEEPEST):
        if not isinstance(value, Mapping):
            break
        inner = [key for key in (*_NESTED, *_AVERAGED) if isinstance(value.get(key), Mapping)]
        if inner:  # first, for beside it a step's number may lie as a tensor
            keys.append(inner[0])
            value = value[inner[0]]
            continue
        tensors = {
            name: tensor.detach()
            for name, tensor in value.items()
            if isinstance(name, str) and isinstance(tensor, Tensor)
        }
        if tensors:
            return tensors, keys
        break
    raise WeightsError(f"{path}: holds no tensors by name; save the model's state_dict()")
