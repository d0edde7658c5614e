"""Weights that a Hugging Face repository publishes: from a mirror folder or downloaded."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from frugalvit.data.download import AbsentError, fetch_file, find_in_mirror
from frugalvit.errors import DataError, WeightsError
from frugalvit.models.weights.beside import CONFIG, PREPROCESSOR
from frugalvit.models.weights.description import Description, describe
from frugalvit.models.weights.load import load_file
from frugalvit.models.weights.opening import State

log = logging.getLogger(__name__)

ENDPOINT = "https://huggingface.co"
FILE = "model.safetensors"


def from_hub(
    repository: str,
    image_size: int,
    *,
    revision: str = "main",
    file: str = FILE,
    sha256: str | None = None,
    num_heads: int | None = None,
    expected: Mapping[str, int | None] | None = None,
    check: str | None = None,
    cache: str | Path,
    mirror: str | Path | None = None,
) -> tuple[State, dict[str, Any], dict[str, Any]]:
    """Load a ViT that a repository publishes, in any naming, for `image_size` px.

    Args:
        repository: `owner/name`, such as `timm/deit_tiny_patch16_224.fb_in1k`.
        image_size: side of the square image in px that the model shall see.
        revision: branch, tag or commit.
        file: path inside the repository, of a safetensors file or a torch pickle.
        sha256: expected checksum, 64 hexadecimal digits.
        num_heads: attention heads a block, where they are not 64 wide.
        expected: architecture keys that the file must have; None values are not compared.
        check: `timm` compares with timm's own model.
        cache: folder for the download, in which the file is called as `local_name` says.
        mirror: folder in which a file of that name is looked for first.

    Returns:
        `(state, architecture, info)` of `weights.load_file`; `info` also has `repository` and
        `revision`, and its `file` is the repository's name of it.

    Raises:
        WeightsError: the file cannot be had, is another than the checksum says, or is unfit.
    """
    repository_at = (repository, revision)
    description = _fetch_description(repository_at, file, cache, mirror)
    path = fetch(repository_at, file, cache, mirror, sha256)
    state, architecture, info = load_file(
        path,
        image_size=image_size,
        sha256=sha256,
        num_heads=num_heads,
        expected=expected,
        description=description,
        check=check,
    )
    origin = {"repository": repository, "revision": revision}
    return state, architecture, {**info, "file": file, **origin}


def fetch(
    repository_at: tuple[str, str],
    file: str,
    cache: str | Path,
    mirror: str | Path | None,
    sha256: str | None = None,
) -> Path:
    """A file of a repository at a revision, from the mirror or downloaded to the cache.

    Raises:
        WeightsError: it cannot be had.
    """
    try:
        return fetch_file(
            local_name(*repository_at, file),
            address(*repository_at, file),
            cache,
            sha256=sha256,
            mirror=mirror,
        )
    except DataError as error:
        repository, revision = repository_at
        raise WeightsError(
            f"base.repository: cannot get {file} of '{repository}' at revision '{revision}': {error}"
        ) from error


def _fetch_description(
    repository_at: tuple[str, str], file: str, cache: str | Path, mirror: str | Path | None
) -> Description:
    """What the repository's small files, beside `file`, say of the model; before it is downloaded.

    Where the mirror has the weights, it alone is asked for them, so that nothing depends on whether
    there is a network. Elsewhere only the hub's answer that it has none counts as none.
    """
    weights = local_name(*repository_at, file)
    here = find_in_mirror(weights, mirror) is not None
    path = Path(cache) / weights
    for name in (CONFIG, PREPROCESSOR):
        if describe(path).preprocessing:
            break
        beside = file.rpartition("/")[0] + "/" + name if "/" in file else name
        if here and find_in_mirror(local_name(*repository_at, beside), mirror) is None:
            log.warning("the mirror has %s, but no %s", weights, local_name(*repository_at, beside))
            continue
        try:
            fetch(repository_at, beside, cache, mirror)
        except WeightsError as error:
            if not isinstance(error.__cause__, AbsentError):
                raise
            log.info("%s has no %s", repository_at[0], beside)
    return describe(path)


def address(repository: str, revision: str, file: str) -> str:
    """Where the hub serves a file; the environment variable HF_ENDPOINT names another hub."""
    endpoint = (os.environ.get("HF_ENDPOINT") or ENDPOINT).rstrip("/")
    # A revision is one segment of the address even where it has slashes, as refs/pr/1 does.
    return f"{endpoint}/{quote(repository)}/resolve/{quote(revision, safe='')}/{quote(file)}"


def local_name(repository: str, revision: str, file: str) -> str:
    """What a file is called in the cache and the mirror: `owner--name--model.safetensors`.

    Every repository has a model.safetensors. A revision other than main stands behind an @, so that
    one is not taken for another: `owner--name@v1.0--model.safetensors`.
    """
    tagged = repository if revision == "main" else f"{repository}@{revision}"
    return f"{tagged}/{file}".replace("/", "--")
