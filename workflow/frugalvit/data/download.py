"""Files by name: from a mirror folder first, else from the network, checked before use."""

import hashlib
import json
import logging
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests
import urllib3

from frugalvit.errors import DataError, storage_problem
from frugalvit.files import (
    atomic_path,
    put_in_place,
    write_json,
    writing,
)
from frugalvit.jobs.lock import exclusive
from frugalvit.jobs.progress import Progress

log = logging.getLogger(__name__)

TIMEOUT = (15, 60)  # seconds to connect, and between two reads
BACK_OFF = 1.0  # seconds before the first retry; doubles each time
LONGEST_WAIT = 60.0
CHUNK = 1 << 18
_RETRIED = {408, 425, 429, 500, 502, 503, 504}


class _TransientError(Exception):
    """A failure that another attempt may cure."""


class AbsentError(DataError):
    """The server has no such file; any other failure may be one of the moment."""


@dataclass(frozen=True)
class _Part:
    """An unfinished download, and beside it what guards its continuation."""

    path: Path

    @property
    def guard_file(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def guard(self, url: str) -> str | None:
        """The ETag or date that the server gave with these bytes; None: do not continue."""
        try:
            saved = json.loads(self.guard_file.read_text())
        except (OSError, ValueError):
            return None
        return saved.get("validator") if saved.get("url") == url and self.size() else None

    def begin(self, url: str, response: requests.Response) -> None:
        """Forget earlier bytes and note the validator of the new ones."""
        tag = response.headers.get("ETag", "")
        # If-Range takes strong validators only (RFC 9110, section 13.1.5).
        weak = not tag or tag.startswith("W/")
        validator = response.headers.get("Last-Modified") if weak else tag
        self.path.write_bytes(b"")
        write_json(self.guard_file, {"url": url, "validator": validator})

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.guard_file.unlink(missing_ok=True)


def fetch_file(
    name: str,
    url: str | None,
    folder: str | Path,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    mirror: str | Path | None = None,
    retries: int = 3,
    progress: bool = True,
) -> Path:
    """Put the file `name` into `folder` and return its path; nothing unchecked gets that name.

    A file that is already there with the right checksum stays. A broken download is continued
    where the server allows it and its file did not change in between.

    Args:
        name: file name without folders; the mirror is searched for it.
        url: http(s) address; None when only the mirror can have the file.
        folder: where the file goes.
        sha256: expected checksum, hexadecimal.
        md5: expected checksum of publishers that give no better one.
        mirror: folder looked in before the network.
        retries: further attempts after a failed download, with doubling waits.
        progress: say how far a long download is.

    Raises:
        AbsentError: the address has no such file.
        DataError: the file is nowhere to be had, or its checksum is wrong.
        StorageError: it cannot be written.
    """
    if Path(name).name != name or name in {"", ".", ".."}:
        raise DataError(f"{name!r} is not a plain file name: leave folders out of it")
    target = Path(folder) / name
    if _is_there(target, sha256, md5):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    # Studies share downloads, and a killed workflow may have left one going on.
    with exclusive(target.with_name(f".{name}.lock"), str(target)):
        if not _is_there(target, sha256, md5):
            _fetch(target, url, sha256, md5, mirror, retries=retries, progress=progress)
    return target


def _is_there(target: Path, sha256: str | None, md5: str | None) -> bool:
    """Whether the file is; one with another checksum is deleted."""
    if not target.is_file():
        return False
    problem = checksum_problem(target, sha256, md5)
    if problem is None:
        log.info("%s: already there", target)
        return True
    log.info("%s: %s; deleted, fetching it again", target, problem)
    target.unlink(missing_ok=True)
    return False


def _fetch(
    target: Path,
    url: str | None,
    sha256: str | None,
    md5: str | None,
    mirror: str | Path | None,
    *,
    retries: int,
    progress: bool,
) -> None:
    name = target.name
    refused = ""
    source = find_in_mirror(name, mirror)
    if source is not None:
        refused = _copy(source, target, sha256, md5)
        if not refused:
            log.info("%s: from the mirror", target)
            return
        log.warning("%s", refused)
    if not url:
        absent = f"it is not in the mirror {mirror}" if mirror else "no mirror is set"
        reason = refused or absent
        raise DataError(f"{name}: no address to download it from and {reason}; set `mirror`")
    if urlsplit(url).scheme not in {"http", "https"}:
        raise DataError(f"{name}: {_shown(url)} is not an http(s) address")
    _download(url, target, sha256, md5, retries=retries, progress=progress)
    log.info("%s: downloaded from %s", target, _shown(url))


def find_in_mirror(name: str, mirror: str | Path | None) -> Path | None:
    """The mirror's file of that name, or None."""
    if not mirror:
        return None
    path = Path(mirror).expanduser() / name
    return path if path.is_file() else None


def file_digest(path: str | Path, algorithm: str = "sha256") -> str:
    """Hexadecimal checksum of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(
            file, lambda: hashlib.new(algorithm, usedforsecurity=algorithm != "md5")
        ).hexdigest()


def checksum_problem(path: Path, sha256: str | None, md5: str | None = None) -> str | None:
    """What is wrong with a file's checksum, in words; None when it is right or none is asked."""
    for algorithm, expected in (("sha256", sha256), ("md5", md5)):
        if expected:
            found = file_digest(path, algorithm)
            if found != expected.lower():
                return f"its {algorithm} is {found}, expected {expected.lower()}"
    return None


def _copy(source: Path, target: Path, sha256: str | None, md5: str | None) -> str:
    """Copy a mirror's file; returns why it was refused, or an empty string."""
    problem = checksum_problem(source, sha256, md5)
    if problem:
        return f"{source} (mirror): {problem}; not used"
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
    return ""


def _download(
    url: str,
    target: Path,
    sha256: str | None,
    md5: str | None,
    *,
    retries: int,
    progress: bool,
) -> None:
    part = _Part(target.with_name(f"{target.name}.part"))
    for attempt in range(retries + 1):
        try:
            with writing(target):
                continued = _receive(url, part, target.name, progress)
            problem = checksum_problem(part.path, sha256, md5)
            if problem is None:
                put_in_place(part.path, target)
                part.discard()
                return
            part.discard()
            if not continued:
                raise DataError(
                    f"{target.name} from {_shown(url)}: {problem}; the file was deleted, check "
                    "the address and the checksum"
                )
            # A continued file can be a mixture of two versions: one clean start is owed.
            reason, wait = f"{problem} after continuing a broken download", 0.0
        except _TransientError as error:
            reason, wait = str(error), min(BACK_OFF * 2**attempt, LONGEST_WAIT)
        if attempt < retries:
            log.info("%s: %s; attempt %d of %d", target.name, reason, attempt + 2, retries + 1)
            time.sleep(wait)
    raise DataError(
        f"{target.name}: {_shown(url)} failed {retries + 1} times ({reason}); run again to "
        "continue, or put the file into the mirror folder"
    )


def _receive(url: str, part: _Part, name: str, progress: bool) -> bool:
    """Fill `part` to its end; returns whether earlier bytes were kept."""
    guard = part.guard(url)
    # Without `identity` a server may compress, and byte positions would mean something else.
    headers = {"Accept-Encoding": "identity"}
    if guard:
        headers |= {"Range": f"bytes={part.size()}-", "If-Range": guard}
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if guard and response.status_code == 416:
                return _past_the_end(response, part)
            _check_status(response, name)
            continued = response.status_code == 206
            if continued and _range_start(response) != part.size():
                part.discard()
                raise _TransientError("the server sent another range than the one asked for")
            if not continued:
                part.begin(url, response)
            _append(response, part, name, progress)
            return continued
    except (requests.exceptions.InvalidURL, requests.exceptions.TooManyRedirects) as error:
        raise DataError(f"{name}: {_shown(url)} is not a usable address") from error
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _TransientError(f"{type(error).__name__}, {part.size()} bytes so far") from error
    except OSError as error:
        if storage_problem(error):
            raise  # of the disk
        raise _TransientError(f"{error.strerror}, {part.size()} bytes so far") from error


def _append(response: requests.Response, part: _Part, name: str, progress: bool) -> None:
    length = response.headers.get("Content-Length", "")
    total = part.size() + int(length) if length.isdigit() else None
    with (
        Progress(f"download {name}", total, "B", part.size(), progress) as shown,
        part.path.open("ab") as file,
    ):
        # read1 hands over every byte that arrived before a break; iter_content drops its buffer.
        while chunk := response.raw.read1(CHUNK, decode_content=False):
            file.write(chunk)
            shown.advance(len(chunk))
    if total is not None and part.size() != total:
        raise _TransientError(f"the connection ended at byte {part.size()} of {total}")


def _past_the_end(response: requests.Response, part: _Part) -> bool:
    """Nothing is left to send: the part is whole already, or it is not this file's."""
    if response.headers.get("Content-Range", "") == f"bytes */{part.size()}":
        return True
    part.discard()
    raise _TransientError("the server refused to continue the download")


def _check_status(response: requests.Response, name: str) -> None:
    status = response.status_code
    if status in _RETRIED:
        raise _TransientError(f"the server answered {status}")
    if status not in {200, 206}:
        kind = AbsentError if status in {404, 410} else DataError
        raise kind(
            f"{name}: {_shown(response.url)} answered {status} {response.reason}; check the "
            "address, or put the file into the mirror folder"
        )


def _range_start(response: requests.Response) -> int | None:
    content_range = response.headers.get("Content-Range", "")
    start = content_range.removeprefix("bytes ").split("-")[0].strip()
    return int(start) if start.isdigit() else None


def _shown(url: str) -> str:
    """The address without its query, which may hold a key."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path}"
