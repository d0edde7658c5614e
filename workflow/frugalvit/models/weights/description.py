"""What stands beside a weights file on the model that its tensors belong to.

Tensors do not tell the number of heads, the activation, what the head reads, rotary positions, the
norms' eps or how images are normalised. timm and Hugging Face write these into a `config.json`, and
Hugging Face the normalisation into a `preprocessor_config.json`; this project writes a `card.json`.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from frugalvit.errors import WeightsError
from frugalvit.models.weights.beside import CARD, PREPROCESSOR, files_beside
from frugalvit.models.weights.opening import first_line, shown

LARGEST = 5_000_000  # bytes; ImageNet's 21,000 labels are 1 MB

_GELU = {"gelu", "gelu_python"}  # the exact one, which torchvision's VisionTransformer computes
_TIMM_NAME = re.compile(r"((test_|naflex|flexi)?vit|deit|beitv?|eva|dinov)[0-9]*[_-]")
_REFUSED_NAMES = {  # parts of a timm architecture's name that tell what its tensors do not
    "quickgelu": "the activation QuickGELU; take one with GELU",
    "relu": "the activation ReLU; take one with GELU",
    "rope": "rotary positions; take one with learned positions alone",
    "gap": "average pooling; take one that reads its class token",
}


@dataclass(frozen=True)
class Description:
    """What is said of a model; None where nothing is.

    `sources` are the files that say it. `activation`, `pooling` and `positions` are GELU, the class
    token and learned alone where they are said: others are refused.
    """

    sources: tuple[str, ...] = ()
    architecture: str | None = None  # timm's name of it
    num_heads: int | None = None
    hidden_dim: int | None = None
    num_layers: int | None = None
    activation: str | None = None
    pooling: str | None = None
    positions: str | None = None
    eps: float | None = None
    preprocessing: dict[str, list[float]] = field(default_factory=dict)  # mean and std
    weights_sha256: str | None = None  # of a file that this project wrote

    @property
    def said_by(self) -> str:
        """The files, for a message."""
        return " and ".join(self.sources)


def describe(path: Path, files: Sequence[Path] | None = None) -> Description:
    """Everything that the files beside a weights file, and its own name, say of its model.

    Args:
        path: the weights file.
        files: read instead of `files_beside`; those that are absent say nothing.

    Raises:
        WeightsError: a file is broken, or says what torchvision's `VisionTransformer` is not.
    """
    found = Description()
    for file in files_beside(path) if files is None else files:
        if file.is_file():
            try:
                found = _joined(found, file.name, read(_content(file), file.name))
            except WeightsError as error:
                raise WeightsError(f"{file}: {error}") from None
    try:
        check_name(path.stem)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None
    return found


def check_name(name: str) -> None:
    """Refuse a timm architecture, repository or file whose name tells of more than its tensors do.

    Raises:
        WeightsError: it does. The message lacks the file.
    """
    for plain in re.split("--|/", name.lower()):
        for part, reason in _REFUSED_NAMES.items():
            if _TIMM_NAME.match(plain) and re.search(rf"(?<![a-z0-9]){part}(?![a-z0-9])", plain):
                raise WeightsError(f"its name, {shown(plain)}, tells of {reason}")


def _content(file: Path) -> dict[str, Any]:
    if file.stat().st_size > LARGEST:
        raise WeightsError(f"{file.stat().st_size} bytes are too many for a description; remove it")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise WeightsError(f"cannot be read as JSON ({first_line(error)}); mend it") from None
    if not isinstance(content, dict):
        raise WeightsError("holds no JSON object; mend it")
    return content


def _joined(one: Description, name: str, other: Description) -> Description:
    """Both; what was said first counts."""
    if other == Description():
        return one
    said = {
        key: getattr(one, key) or getattr(other, key)
        for key in Description.__dataclass_fields__
        if key != "sources"
    }
    return Description(sources=(*one.sources, name), **said)


def read(content: Mapping[str, Any], name: str) -> Description:
    """What a file's content says; nothing where it is none that is known here.

    Raises:
        WeightsError: a value is of a wrong kind, or the model is none that is supported.
    """
    if name.endswith(PREPROCESSOR):
        return Description(preprocessing=_normalisation(content, "image_mean", "image_std"))
    if name.endswith(CARD):
        return _from_card(content)
    if "model_type" in content:
        return _from_hugging_face(content)
    if "architecture" in content:
        return _from_timm(content)
    return Description()


def _from_timm(content: Mapping[str, Any]) -> Description:
    architecture = content["architecture"]
    if not isinstance(architecture, str):
        raise WeightsError("architecture: not a name; mend it")
    check_name(architecture)
    arguments = _mapping(content, "model_args")
    pooling = content.get("global_pool", arguments.get("global_pool"))
    if pooling not in (None, "", "token"):
        raise WeightsError(
            f"global_pool: its head reads '{shown(pooling)}'; take a model that reads its class token"
        )
    activation = arguments.get("act_layer") or "gelu"
    _check_activation(activation, "model_args.act_layer")
    own = content.get("pretrained_cfg")
    preprocessing = _normalisation(own if isinstance(own, Mapping) else content, "mean", "std")
    return Description(
        architecture=architecture.partition(".")[0],
        num_heads=_count(arguments, "num_heads"),
        hidden_dim=_count(content, "num_features"),
        num_layers=_count(arguments, "depth"),
        activation="GELU",
        pooling="class token" if pooling == "token" else None,
        positions="learned",
        preprocessing=preprocessing,
    )


def _from_hugging_face(content: Mapping[str, Any]) -> Description:
    activation = content.get("hidden_act")
    known = content["model_type"] in ("vit", "deit", "dinov2", "vit_mae", "vit_msn")
    if activation is not None:
        _check_activation(activation, "hidden_act")
    if content.get("use_mean_pooling"):
        raise WeightsError("use_mean_pooling: take a model that reads its class token")
    return Description(
        num_heads=_count(content, "num_attention_heads"),
        hidden_dim=_count(content, "hidden_size"),
        num_layers=_count(content, "num_hidden_layers"),
        activation="GELU" if activation is not None else None,
        pooling="class token" if known else None,
        positions="learned" if known else None,
        eps=_eps(content, "layer_norm_eps"),
    )


def _from_card(content: Mapping[str, Any]) -> Description:
    if not {"architecture", "preprocessing"} <= content.keys():
        return Description()
    architecture, checksum = _mapping(content, "architecture"), content.get("weights_sha256")
    return Description(
        num_heads=_count(architecture, "num_heads"),
        hidden_dim=_count(architecture, "hidden_dim"),
        num_layers=_count(architecture, "num_layers"),
        activation="GELU",
        pooling="class token",
        positions="learned",
        eps=_eps(architecture, "eps"),
        preprocessing=_normalisation(_mapping(content, "preprocessing"), "mean", "std"),
        weights_sha256=checksum if isinstance(checksum, str) else None,
    )


def _check_activation(value: object, key: str) -> None:
    if not (isinstance(value, str) and value.lower() in _GELU):
        raise WeightsError(f"{key}: the activation '{shown(value)}'; take a model with GELU")


def _mapping(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = content.get(key)
    return value if isinstance(value, Mapping) else {}


def _count(content: Mapping[str, Any], key: str) -> int | None:
    value = content.get(key)
    if value is not None and (not isinstance(value, int) or not 0 < value < 1_000_000):
        raise WeightsError(f"{key}: {shown(value)} is no positive whole number; mend it")
    return value


def _eps(content: Mapping[str, Any], key: str) -> float | None:
    value = content.get(key)
    if value is not None and not (_is_number(value) and 0 < value < 1):
        raise WeightsError(f"{key}: {shown(value)} is no small positive number; mend it")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _normalisation(content: Mapping[str, Any], mean: str, std: str) -> dict[str, list[float]]:
    """Mean and standard deviation of three channels, of 0..1."""
    if content.get("do_normalize") is False:
        return {"mean": [0.0] * 3, "std": [1.0] * 3}
    found = {}
    for key, name in (("mean", mean), ("std", std)):
        value = content.get(name)
        if value is None:
            return {}
        if _is_number(value):
            value = [value] * 3
        usable = isinstance(value, list) and len(value) == 3 and all(map(_is_number, value))
        if not usable or (key == "std" and min(value) <= 0):
            raise WeightsError(
                f"{name}: {shown(value)} are no numbers of three channels; mend it, or remove the "
                "file and state base.mean and base.std"
            )
        found[key] = [float(number) for number in value]
    return found
