"""Weights files opened without trust: what they claim is checked before memory is given for it.

No code of a pickle runs (`weights_only`). Tensors stay mapped from the file, so that reading costs
no more memory than the file has bytes. Messages name the file and what is wrong, in one line.
"""

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file as load_safetensors
from torch import Tensor

from frugalvit.errors import WeightsError

State = dict[str, Tensor]

LARGEST_HEADER = 10_000_000  # bytes; a ViT's is 100 kB
LONGEST_NAME = 200
_TORCHSCRIPT = "a TorchScript program, not weights: save its state_dict()"


def shown(text: object, longest: int = 80) -> str:
    """`text` on one line: what does not print is escaped, what is too long is cut."""
    escaped = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in str(text)[: longest + 1]
    )
    return escaped if len(escaped) <= longest else f"{escaped[:longest]}…"


def read_safetensors(path: Path) -> State:
    """The tensors of a safetensors file.

    Raises:
        WeightsError: it is broken, or names a tensor twice.
    """
    try:
        _check_header(path)
        return load_safetensors(path)
    except WeightsError:
        raise
    except Exception as error:  # beside SafetensorError what a type unknown to torch raises
        raise WeightsError(
            f"{path}: a broken or truncated safetensors file ({first_line(error)}); fetch it again"
        ) from None


def _check_header(path: Path) -> None:
    """Refuse a header whose keys are not unique: readers differ in which value they take."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise WeightsError(
                f"{path}: its header names '{shown(twice)}' twice: a damaged or forged file; "
                "fetch it again"
            )
        return found

    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(LARGEST_HEADER, path.stat().st_size):
            raise ValueError(f"its header claims {length} bytes")
        json.loads(file.read(length), object_pairs_hook=unique)


def read_pickle(path: Path, *, checked: bool = False) -> Any:
    """What torch saved, as tensors and plain values only.

    Args:
        path: the file.
        checked: its checksum was compared, so that those of its records need not be.

    Raises:
        WeightsError: it is broken, holds more than tensors, or a record's bytes were changed.
    """
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"PK"
        if zipped:
            _check_records(path, checked)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except WeightsError:
        raise
    except Exception as error:  # a broken pickle can raise anything
        if forbidden := re.search(r"GLOBAL (\S+)|Unsupported class (\S+)", str(error)):
            reason = (
                f"a pickle that holds more than tensors ({shown(forbidden[1] or forbidden[2])}), "
                "which could run code and is not loaded: save the model's state_dict() alone, "
                "best as safetensors"
            )
        elif "TorchScript" in str(error):
            reason = _TORCHSCRIPT
        else:
            reason = (
                f"no torch checkpoint, or a broken or truncated one ({first_line(error)}); "
                "fetch it again, or save a state_dict() with torch.save"
            )
        raise WeightsError(f"{path}: {reason}") from None


def _check_records(path: Path, checked: bool) -> None:
    """Compare what a zip file's records claim with its size, and with their own checksums.

    torch compresses nothing and compares no checksum.
    """
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
        if any(record.filename.endswith("/constants.pkl") for record in records):
            raise WeightsError(f"{path}: {_TORCHSCRIPT}")
        claimed = sum(record.file_size for record in records)
        packed = any(record.compress_type != zipfile.ZIP_STORED for record in records)
        if packed or claimed > path.stat().st_size:
            raise WeightsError(
                f"{path}: its records are compressed or overlap, which torch's never do: save the "
                "model's state_dict() with torch.save"
            )
        damaged = None if checked else archive.testzip()
    if damaged is not None:
        raise WeightsError(
            f"{path}: the bytes of its record {shown(damaged)} were changed since it was saved: "
            "fetch it again (or state base.sha256 of this very file)"
        )


def check_tensors(state: State, path: Path) -> State:
    """The tensors themselves, if each is dense, plainly named and no larger than the file.

    Raises:
        WeightsError: one is not; before anything computes with it.
    """
    for name, tensor in state.items():
        if not name.isprintable() or len(name) > LONGEST_NAME:
            raise WeightsError(
                f"{path}: the name '{shown(name)}' of a tensor is no name that a ViT's has: "
                "save its state_dict()"
            )
        odd = tensor.layout != torch.strided or tensor.is_meta or tensor.is_nested
        if odd or tensor.is_quantized:
            kind = "quantized" if tensor.is_quantized else "no dense tensor"
            raise WeightsError(f"{path}: {name} is {kind}; save plain floating-point tensors")
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    size = path.stat().st_size
    if claimed > 2 * size:  # twice, for two tensors may share their memory
        largest = max(state, key=lambda name: state[name].numel())
        raise WeightsError(
            f"{path}: its tensors claim {claimed:.1e} bytes (most of them {largest}), the file has "
            f"{size:.1e}: a view that was expanded; save tensor.contiguous() of each"
        )
    return state


def first_line(error: Exception) -> str:
    """The first line of what an error says, printable and short."""
    lines = str(error).strip().splitlines()
    return shown(lines[0] if lines else type(error).__name__, 120).rstrip(". ")
