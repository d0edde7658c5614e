"""The contract of a source: what its file `data/sources/{name}.py` answers, as `SOURCE`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from frugalvit.data.items import Listing

Dataset = dict[str, Any]  # the `dataset` section of a study, validated


class Listed(NamedTuple):
    """What a source holds, and the folders in which `dataset.class_names` is looked for."""

    listing: Listing
    folders: list[Path]


def _nothing(dataset: Dataset, key: str, mirror: str | None) -> None:
    return None


def _no_stamp(dataset: Dataset) -> str:
    return ""


@dataclass(frozen=True)
class Source:
    """Where images come from. The configuration imports its file, so heavy packages wait inside."""

    fetch: Callable[[Dataset, Path, Path | None], dict[str, Any]]
    """Bring the files into a folder of this dataset alone, mirror first; returns what the marker
    says of them, with checksums. Raises ConfigError, DataError."""
    list: Callable[[Dataset, Path], Listed]
    """List the images of what was fetched. Raises ConfigError, DataError."""
    check: Callable[[Dataset, str, str | None], None] = _nothing
    """Check and complete the section, in place, before anything runs; given its key (`dataset`) for
    messages, and the mirror. Raises ConfigError."""
    stamp: Callable[[Dataset], str] = _no_stamp
    """Checksum that changes with files of the user's own, so that what depends on them reruns."""
    local: bool = False
    """Whether `list` looks at the user's own files where they lie and needs nothing fetched: their
    number is then checked before anything runs."""
