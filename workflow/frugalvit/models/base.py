"""The base of a study: one backbone on disk, `weights.safetensors`, with its `card.json`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from frugalvit.errors import ConfigError, WeightsError
from frugalvit.files import sha256_file
from frugalvit.models.any_model import build_model
from frugalvit.models.weights.opening import State
from frugalvit.models.weights.tensors import check_exists, check_written, load_into, read_tensors

WEIGHTS = "weights.safetensors"
CARD = "card.json"


def load_card(folder: str | Path) -> dict[str, Any]:
    """The card of a base.

    Raises:
        WeightsError: there is none, or it is no card.
    """
    path = Path(folder) / CARD
    try:
        card = json.loads(path.read_text())
    except (OSError, ValueError):
        card = {}
    if not isinstance(card, dict) or not {"architecture", "preprocessing"} <= card.keys():
        raise WeightsError(f"{path}: missing or no card of a base; export the base again")
    return card


def folders_of(files: Sequence[str | Path]) -> dict[str, Path]:
    """Folders of bases by their name, from their files."""
    return {Path(file).parent.name: Path(file).parent for file in files}


def folder_of(files: Sequence[str | Path]) -> Path | None:
    """The base's folder by its files; None of a study without one."""
    return Path(files[0]).parent if files else None


def preprocessing_of(base: Path | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Size and normalisation of what runs see: the base's, or in a study without one the settings'.

    Args:
        base: folder of the base.
        settings: of a run, their `preprocessing` as a base's card has it.
    """
    return load_card(base)["preprocessing"] if base else settings["preprocessing"]


def load_base(folder: str | Path) -> tuple[State, dict[str, Any]]:
    """Tensors (torchvision's naming, no head) and card of a base."""
    card = load_card(folder)
    path = Path(folder) / WEIGHTS
    check_unchanged(path, card)
    return read_tensors(path), card


def check_unchanged(path: Path, card: dict[str, Any]) -> None:
    """Compare a base's weights file with its card's checksum.

    Raises:
        WeightsError: the file is missing, or its bytes are not those that were written.
    """
    check_exists(path)
    check_written(path, sha256_file(path), card.get("weights_sha256"))


def build_from_base(
    folder: str | Path, num_classes: int, *, dropout: float = 0.0, num_layers: int | None = None
) -> Any:
    """The base with a fresh head for `num_classes`; 0 gives what a head would read.

    Args:
        folder: of the base.
        num_classes: outputs of the head.
        dropout: inside the backbone.
        num_layers: keep the first blocks only; all of them where None.

    Raises:
        ConfigError: the base has fewer blocks than `num_layers`. The message lacks the key.
        WeightsError: the folder holds no base, or weights and card do not belong together.
    """
    card, path = load_card(folder), Path(folder) / WEIGHTS
    architecture = card["architecture"]
    model: Any = build_model(architecture, num_classes, dropout=dropout)
    check_unchanged(path, card)
    load_into(model, path)
    if num_layers is None or num_layers == architecture.get("num_layers"):
        return model
    if num_layers > architecture["num_layers"]:
        raise ConfigError(
            f"{num_layers} blocks kept, but the base has {architecture['num_layers']}"
        )
    model.encoder.layers = model.encoder.layers[:num_layers]
    return model
