"""Bases at the sizes at which experiments see images: each is exported to a folder of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from frugalvit.config.bases import NONE, ONE, base_key, check_patches, pretraining_run
from frugalvit.config.experiments import TIMM
from frugalvit.data.mirror import find_file
from frugalvit.errors import ConfigError
from frugalvit.models.weights.beside import files_beside

PRETRAIN_SPLITS = "splits-pretrain"  # folder of the splits that pretrain the first base
FOLDER = "base"  # under the study's results, of the first base at its own size
START = ("base", "image_size")  # keys of an experiment that say what it starts from


@dataclass(frozen=True)
class SizedBase:
    """A base at one image size.

    Attributes:
        name: of the base, in `bases`.
        settings: of the base, its `image_size` replaced by this one; `stored`, where it is there, is the
            side to which the store's squares are resized before they are cut (`scale_views`).
        key: that says how large a square is seen.
    """

    name: str
    settings: dict[str, Any]
    key: str

    @property
    def image_size(self) -> int:
        """Side (px) of the square that is seen."""
        return self.settings["image_size"]


@dataclass(frozen=True)
class Pretraining:
    """The run that makes a base."""

    name: str  # of the base, in `bases`
    settings: dict[str, Any]  # of the run
    splits: str  # folder of its splits
    dataset: str  # folder of its dataset

    @property
    def key(self) -> str:
        """The key under which the base stands."""
        return base_key(self.name)


def collect_pretrainings(config: dict, datasets: Mapping[str, str]) -> dict[str, Pretraining]:
    """What makes each base that is pretrained here, by the base's folder at its own size.

    Args:
        config: the study.
        datasets: folder of the dataset by the base's name.
    """
    found = {}
    for name, dataset in datasets.items():
        base = config["bases"][name]
        folder = folder_of(config, name, base["image_size"])
        splits = f"{PRETRAIN_SPLITS}{folder.removeprefix(FOLDER)}"
        found[folder] = Pretraining(name, pretraining_run(base), splits, dataset)
    return found


def base_stamp(base: SizedBase, mirror: str | None) -> list | None:
    """Name, size and date of a base's weights file, where it is one, and of what describes it."""
    if base.settings["source"] not in ("file", TIMM) or not base.settings["file"]:
        return None
    if base.settings["repository"]:  # in which the file lies
        return None
    path = find_file(base.settings["file"], mirror, f"{base_key(base.name)}.file")
    files = [path, *(file for file in files_beside(path) if file.is_file())]
    states = [(file.name, file.stat()) for file in files]
    return [part for name, at in states for part in (name, at.st_size, int(at.st_mtime))]


def folder_of(config: dict, name: str, image_size: int) -> str:
    """Folder of a base at a size: `base`, `base-112px`, `base-tiny`, `base-tiny-112px`.

    Args:
        config: the study.
        name: of the base, in `bases`.
        image_size: px.
    """
    parts = [FOLDER] if name == next(iter(config["bases"])) else [FOLDER, name]
    own = config["bases"][name]["image_size"]
    return "-".join(parts if image_size == own else [*parts, f"{image_size}px"])


def sized_bases(config: dict) -> dict[str, SizedBase]:
    """Folder -> base at a size, of all that experiments start from, in the order of `bases`.

    Raises:
        ConfigError: an experiment names no base of the study, or a size that is no whole number of
            patches.
    """
    found: dict[str, SizedBase] = {}
    for name, raw in config["experiments"].items():
        if raw.get("from", FOLDER) != FOLDER:  # it has its source's
            continue
        base, at = base_named(config, raw, f"experiments.{name}"), f"experiments.{name}.image_size"
        settings = config["bases"][base]
        size = raw.get("image_size", settings["image_size"])
        if size == settings["image_size"]:
            at = "images.size" if settings["source"] == NONE else f"{base_key(base)}.image_size"
        folder = folder_of(config, base, size)
        if folder not in found:
            found[folder] = SizedBase(base, settings | {"image_size": size}, at)
            check_patches(found[folder].settings, at)
    if not found:  # a circle, which is told elsewhere
        name, settings = next(iter(config["bases"].items()))
        found[FOLDER] = SizedBase(name, settings, f"{base_key(name)}.image_size")
    names = list(config["bases"])
    own = {name: base["image_size"] for name, base in config["bases"].items()}

    def order(folder: str) -> tuple[int, bool, int]:
        base = found[folder]
        size = base.image_size
        return names.index(base.name), size != own[base.name], size

    return {folder: found[folder] for folder in sorted(found, key=order)}


def base_named(config: dict, raw: Mapping[str, Any], at: str) -> str:
    """The base that an experiment names, or the first.

    Raises:
        ConfigError: there is none of that name.
    """
    names = list(config["bases"])
    name = raw.get("base", names[0])
    if name not in names:
        known = (
            f"bases has {', '.join(names)}" if names != [ONE] else "there is one alone; remove it"
        )
        raise ConfigError(f"{at}.base: no base '{name}'; {known}")
    return name


def check_inherited(
    config: dict, at: str, raw: Mapping[str, Any], source: str, own: SizedBase
) -> None:
    """Refuse another base, or another size, than that of the experiment that one starts from.

    Args:
        config: the study.
        at: key of the experiment.
        raw: its entry.
        source: name of the other.
        own: what that one starts from.

    Raises:
        ConfigError: names the key.
    """
    if "base" in raw and base_named(config, raw, at) != own.name:
        raise ConfigError(
            f"{at}.base: starts from '{source}', whose base is {own.name}; remove base or from"
        )
    size = raw.get("image_size", own.image_size)
    if size != own.image_size:
        raise ConfigError(
            f"{at}.image_size: starts from '{source}', which sees {own.image_size} px; remove "
            "image_size or from"
        )
