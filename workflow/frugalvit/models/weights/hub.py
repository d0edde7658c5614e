"""Weights that a Hugging Face repository publishes: from a mirror folder or downloaded."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from frugalvit.data.download import fetch_file
from frugalvit.errors import DataError, WeightsError
from frugalvit.models.weights.load import load_file
from frugalvit.models.weights.tensors import State

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
        cache: folder for the download, in which the file is called as `local_name` says.
        mirror: folder in which a file of that name is looked for first.

    Returns:
        `(state, architecture, info)` of `weights.load_file`; `info` also has `repository` and
        `revision`, and its `file` is the repository's name of it.

    Raises:
        WeightsError: the file cannot be had, is another than the checksum says, or is unfit.
    """
    try:
        path = fetch_file(
            local_name(repository, revision, file),
            address(repository, revision, file),
            cache,
            sha256=sha256,
            mirror=mirror,
        )
    except DataError as error:
        raise WeightsError(
            f"base.repository: cannot get {file} of '{repository}' at revision '{revision}': {error}"
        ) from error
    state, architecture, info = load_file(
        path, image_size=image_size, sha256=sha256, num_heads=num_heads, expected=expected
    )
    origin = {"repository": repository, "revision": revision}
    return state, architecture, {**info, "file": file, **origin}


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
