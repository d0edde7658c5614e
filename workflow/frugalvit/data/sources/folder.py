"""A user's folder of class folders: looked at, never copied."""

from pathlib import Path
from typing import Any

from frugalvit.data.folders import list_folder, listing_digest
from frugalvit.data.sources.source import Dataset, Listed, Source
from frugalvit.errors import ConfigError


def fetch(dataset: Dataset, raw: Path, mirror: Path | None) -> dict[str, Any]:
    """Note the folder's path, and a checksum of its files' names, sizes and dates."""
    folder = _user_folder(dataset)
    return {"path": str(folder), "listing_sha256": listing_digest(folder)}


def list_user_folder(dataset: Dataset, raw: Path) -> Listed:
    """List the folder's images where they lie."""
    root = _user_folder(dataset)
    return Listed(list_folder(root, dataset["layout"]), [root])


def _user_folder(dataset: Dataset) -> Path:
    if not dataset["path"]:
        raise ConfigError("dataset.path: empty; name the folder that holds the images")
    folder = Path(dataset["path"]).expanduser()
    if not folder.is_dir():
        raise ConfigError(f"dataset.path: {folder} is no folder; name the one with the images")
    return folder.resolve()


def check(dataset: Dataset, key: str, mirror: str | None) -> None:
    """Check that `path` names a folder."""
    path = dataset["path"]
    if not path:
        raise ConfigError(f"{key}.path: missing; source folder needs the path of its folder")
    if not Path(path).is_dir():
        raise ConfigError(f"{key}.path: no folder '{path}'; correct the path")


def stamp(dataset: Dataset) -> str:
    """Checksum of the names, sizes and dates of the folder's files."""
    return listing_digest(Path(dataset["path"]).expanduser()) if dataset["path"] else ""


SOURCE = Source(fetch=fetch, list=list_user_folder, check=check, stamp=stamp, local=True)
