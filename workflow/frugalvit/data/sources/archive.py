"""An archive of class folders: a user's own, or from an address."""

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from frugalvit.data.archives import extract_archive
from frugalvit.data.download import checksum_problem, fetch_file, file_digest, find_in_mirror
from frugalvit.data.folders import descend, list_folder, listing_digest
from frugalvit.data.mirror import find_file
from frugalvit.data.sources.source import Dataset, Listed, Source
from frugalvit.errors import ConfigError, DataError

UNPACKED = "unpacked"  # folder of what the archive holds


def fetch(dataset: Dataset, raw: Path, mirror: Path | None) -> dict[str, Any]:
    """Get the archive, and unpack it."""
    return {"files": [_download_archive(dataset, raw, mirror)]}


def list_archive(dataset: Dataset, raw: Path) -> Listed:
    """List what it holds; archives often wrap it into one folder of their own."""
    layout = dataset["layout"]
    root = descend(raw / UNPACKED, layout)
    return Listed(list_folder(root, layout), [root, raw / UNPACKED])


def _download_archive(dataset: Dataset, raw: Path, mirror: str | Path | None) -> dict[str, str]:
    path, sha256 = dataset["path"], dataset["sha256"]
    if not path:
        raise ConfigError("dataset.path: empty; give the archive's path or http(s) address")
    if _is_url(path):
        if not sha256:
            raise ConfigError("dataset.sha256: required for an address in dataset.path; add it")
        name = unquote(urlsplit(path).path.rsplit("/", 1)[-1])
        archive = fetch_file(name, path, raw, sha256=sha256, mirror=mirror)
    else:
        archive = _local_archive(Path(path).expanduser(), sha256, mirror)
    extract_archive(archive, raw / UNPACKED)
    return {"file": archive.name, "sha256": file_digest(archive)}


def _local_archive(path: Path, sha256: str | None, mirror: str | Path | None) -> Path:
    """The archive where the config says, else the mirror's file of its name; used in place."""
    archive = path if path.is_file() else find_in_mirror(path.name, mirror)
    if archive is None:
        looked = f" nor {path.name} in the mirror {mirror}" if mirror else "; no mirror is set"
        raise ConfigError(f"dataset.path: no file {path}{looked}")
    problem = checksum_problem(archive, sha256)
    if problem:
        raise DataError(f"{archive}: {problem}; get the file anew or mend dataset.sha256")
    return archive


def _is_url(path: str) -> bool:
    return path.startswith(("http://", "https://"))


def check(dataset: Dataset, key: str, mirror: str | None) -> None:
    """Check that `path` names a file, there or in the mirror, and that an address has a checksum."""
    path = dataset["path"]
    if not path:
        raise ConfigError(f"{key}.path: missing; source archive needs the path of its archive")
    if not _is_url(path):
        find_file(path, mirror, f"{key}.path")
    elif not dataset["sha256"]:
        raise ConfigError(f"{key}.sha256: missing; an archive from the network needs its checksum")


def stamp(dataset: Dataset) -> str:
    """Checksum of the file's size and date, where it lies on this machine."""
    return listing_digest(Path(dataset["path"]).expanduser()) if dataset["path"] else ""


SOURCE = Source(fetch=fetch, list=list_archive, check=check, stamp=stamp)
