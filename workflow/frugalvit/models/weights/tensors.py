"""Weights files: read as tensors only, and written reproducibly.

Nothing that a file holds is trusted: pickles are read with `weights_only`, so that no code in them
runs, and everything that is wrong with a file becomes one line that names it.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file as load_safetensors
from safetensors.torch import save_file as save_safetensors
from torch import Tensor, nn

from frugalvit.errors import WeightsError
from frugalvit.files import atomic_path

State = dict[str, Tensor]

# Under which keys training scripts store a model: DeiT and MAE `model`, Lightning `state_dict`,
# DINO its averaged `teacher`.
_NESTED = ("model", "state_dict", "model_state_dict", "teacher", "module", "net")
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
        WeightsError: the file is missing, neither of the two, truncated, or a pickle with more than
            tensors in it.
    """
    path = Path(path)
    check_exists(path)
    with path.open("rb") as file:
        start = file.read(64)
    if start[8:9] == b"{":
        try:
            return load_safetensors(path)
        except SafetensorError as error:
            raise WeightsError(
                f"{path}: a broken or truncated safetensors file ({_first_line(error)}); "
                "fetch it again"
            ) from None
    if start.startswith((b"PK\x03\x04", b"\x80")):
        return _tensors_of(_read_pickle(path), path)
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


def load_into(model: nn.Module, path: str | Path) -> None:
    """Load a file that `save` wrote into `model`; a file without head leaves the model's as it is.

    Raises:
        WeightsError: the file is unreadable, or its tensors are not the model's.
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
    model.load_state_dict(state, strict=False)


def _read_pickle(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken pickle can raise anything
        if forbidden := re.search(r"GLOBAL (\S+)|Unsupported class (\S+)", str(error)):
            reason = (
                f"a pickle that holds more than tensors ({forbidden[1] or forbidden[2]}), which "
                "could run code and is not loaded: save the model's state_dict() alone, best as "
                "safetensors"
            )
        elif "TorchScript" in str(error):
            reason = "a TorchScript program, not weights: save its state_dict()"
        else:
            reason = (
                f"no torch checkpoint, or a broken or truncated one ({_first_line(error)}); "
                "fetch it again, or save a state_dict() with torch.save"
            )
        raise WeightsError(f"{path}: {reason}") from None


def _tensors_of(value: Any, path: Path) -> State:
    """The tensors of a checkpoint, at the top or nested under a usual key."""
    for _ in range(_DEEPEST):
        if not isinstance(value, Mapping):
            break
        tensors = {
            name: tensor.detach()
            for name, tensor in value.items()
            if isinstance(name, str) and isinstance(tensor, Tensor)
        }
        if tensors:
            odd = [n for n, t in tensors.items() if t.layout != torch.strided or t.is_meta]
            if odd:
                raise WeightsError(f"{path}: {odd[0]} is no dense tensor; save plain tensors")
            return tensors
        value = next((value[key] for key in _NESTED if key in value), None)
    raise WeightsError(f"{path}: holds no tensors by name; save the model's state_dict()")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:120].rstrip(". ")
