"""The small files between rules, written whole or not at all, and the locks that they need."""

import fcntl
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from frugalvit.errors import DataError, FrugalError, StorageError, storage_problem

if TYPE_CHECKING:
    import pandas as pd


def try_hold(file: IO) -> bool:
    """Lock an open file until it is closed; False where another process holds it.

    Raises:
        OSError: the file system has no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # a network file system may say either
        return False
    return True


def release(file: IO) -> None:
    """Let go of a lock, and keep the file open."""
    fcntl.flock(file, fcntl.LOCK_UN)


_TEMPORARY = re.compile(
    r"\.(?P<name>.+?)(\.[a-z0-9_]{8}(\.unpacking|\.\w+)?|\.lock)|(?P<part>.+)\.part(\.json)?"
)


def real_path(path: str | Path) -> Path:
    """The file that a temporary or a lock file beside it is for; any other path as it is."""
    path = Path(path)
    found = _TEMPORARY.fullmatch(path.name)
    return path.with_name(found["name"] or found["part"]) if found else path


@contextmanager
def writing(path: str | Path, temporary: Path | None = None) -> Iterator[None]:
    """Say in one line that `path` cannot be written, where the disk is full, read-only or closed.

    Args:
        path: what the message names.
        temporary: what is written in its place; an error that names another file passes.

    Raises:
        StorageError: it cannot be written.
    """
    try:
        yield
    except FrugalError:
        raise
    except Exception as error:
        problem = storage_problem(error)
        named = {str(name) for name in _files_of(error)}
        if not problem or (temporary and named and str(temporary) not in named):
            raise
        raise StorageError(f"{path}: cannot be written: {problem} and run again") from error


def _files_of(error: Exception) -> list[Any]:
    """Files that an error of the system names."""
    names = (error.filename, error.filename2) if isinstance(error, OSError) else ()
    return [name for name in names if name is not None]


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path` that replaces it (fsync, rename) if the block succeeds.

    What killed processes left of the same file goes first: it may be large.

    Raises:
        StorageError: the disk is full, read-only or closed to us; nothing is left behind.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned(path)
        handle, name = tempfile.mkstemp(
            prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent
        )
    temporary = Path(name)
    # Held while it is written, so that another writer of the same file does not take it for abandoned.
    with os.fdopen(handle, "r+b") as held:
        _hold(held, temporary)
        try:
            with writing(path, temporary):
                yield temporary
                temporary.chmod(0o644)
                put_in_place(temporary, path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def _hold(file: IO, path: Path) -> None:
    """Lock an open file, but where the system then lets no other descriptor write (SMB's locks)."""
    with suppress(OSError):
        if try_hold(file):
            try:
                path.write_bytes(b"-")
            except PermissionError:
                release(file)
            os.truncate(path, 0)


def put_in_place(temporary: Path, path: Path) -> None:
    """Give a whole file its name such that no crash leaves a part of it there (fsync, rename)."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
    with suppress(OSError):  # some network file systems cannot, and need not
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def remove_abandoned(path: Path) -> None:
    """Remove the temporary siblings of `path` that no living process holds."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}{re.escape(path.suffix)}")
    for sibling in path.parent.iterdir():
        # Left alone where it is gone already, another user's, or on a file system without locks.
        with suppress(OSError):
            if pattern.fullmatch(sibling.name) and sibling.is_file():
                with sibling.open("r+b") as file:
                    if try_hold(file):
                        sibling.unlink()


def read_json(path: str | Path) -> Any:
    """The value of a JSON file of this project's.

    Raises:
        DataError: the file is missing or no JSON.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; make it with `snakemake {path}`") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not readable JSON ({error}); delete it and run again") from None


def read_csv(path: str | Path, columns: Collection[str] = (), **options: Any) -> "pd.DataFrame":
    """A CSV file of this project's as a pandas table.

    Args:
        path: the file.
        columns: it must have.
        options: of `pandas.read_csv`.

    Raises:
        DataError: the file is missing, no CSV, or lacks a column.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path, **options)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; make it with `snakemake {path}`") from None
    except ValueError as error:  # pandas' own errors are ValueErrors
        raise DataError(f"{path}: not a readable CSV ({error}); delete it and run again") from None
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise DataError(f"{path}: column {', '.join(missing)} is missing; delete it and run again")
    return table


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_csv(path: str | Path, table: Any) -> None:
    """Write a pandas table without its index, atomically."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)


def sha256_file(path: str | Path) -> str:
    """SHA-256 of a file's content, 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
