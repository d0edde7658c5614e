"""Errors that are the user's to mend: each is one line that names the key or file and the remedy."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# What keeps a file from being written, and what to do about it.
_STORAGE = {
    errno.ENOSPC: "no space is left on the disk; free some",
    errno.EDQUOT: "your quota on the disk is used up; free some space",
    errno.EFBIG: "larger than a file may be (ulimit -f, or the file system); raise the limit",
    errno.EROFS: "the file system is read-only; make it writable",
    errno.EACCES: "permission denied; allow it",
    errno.EPERM: "not permitted; allow it",
    errno.EIO: "the disk reports an error; check it",
}
# As torch, numpy and CUDA's libraries say it.
_NO_MEMORY = re.compile(
    r"out of memory|can't allocate memory|not enough memory|unable to allocate|_ALLOC_FAILED",
    re.IGNORECASE,
)
LONGEST = 2000  # characters of a message; a longer one loses its middle


class FrugalError(Exception):
    """Base of every error that a user can cause; shown as one line, never as a traceback.

    Messages hold names and values from outside, so its text is escaped where it is shown.
    """

    def __str__(self) -> str:
        return one_line(super().__str__())


class ConfigError(FrugalError):
    """A study's configuration is wrong; the message starts with the key."""


class DataError(FrugalError):
    """A dataset, an image or a table is missing or broken; the message names the file."""


class WeightsError(FrugalError):
    """A weights file is missing, unsafe, broken or does not fit the model."""


class TrainingError(FrugalError):
    """Training cannot go on with these settings; the message names the setting to change."""


class StorageError(FrugalError):
    """A file cannot be written where it belongs; the message names the file and what to do."""


def storage_problem(error: BaseException) -> str | None:
    """Why the system let nobody write (or read) a file, and what to do; None for any other error."""
    if isinstance(error, OSError):
        return _STORAGE.get(error.errno or 0)
    if number := re.search(r"\(os error (\d+)\)", str(error)):  # of safetensors, which is Rust
        return _STORAGE.get(int(number[1]))
    # torch raises an error of its own over the one that a file raised.
    if isinstance(error, RuntimeError) and isinstance(error.__context__, OSError):
        return storage_problem(error.__context__)
    return None


def memory_problem(error: BaseException) -> str | None:
    """The sentence of an error that says that memory ran out; None for any other error."""
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error))
    ):
        lines = str(error).strip().splitlines()
        sentences = re.split(r"(?<=\w)\. ", lines[-1]) if lines else [type(error).__name__]
        return next((one for one in sentences if _NO_MEMORY.search(one)), sentences[0])
    return None


@contextmanager
def sized_by(*keys: str, remedy: str = "") -> Iterator[None]:
    """Name the keys that set how much is computed at once, where memory runs out inside.

    Args:
        keys: to lower.
        remedy: what else could be done, to end the message.

    Raises:
        TrainingError: it did.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if problem := memory_problem(error):
            raise TrainingError(
                f"{keys[0]}: out of memory in a batch ({problem}); lower {' or '.join(keys)}{remedy}"
            ) from error
        raise


@contextmanager
def within(key: str) -> Iterator[None]:
    """Put a key before the words of a `ConfigError` that lacks it."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from None


@contextmanager
def renamed(key: str, used: str) -> Iterator[None]:
    """Put the key that a study uses in place of the one with which an error's message begins."""
    try:
        yield
    except FrugalError as error:
        text = str(error)
        if used == key or not text.startswith(f"{key}."):
            raise
        raise type(error)(used + text.removeprefix(key)) from None


def one_line(text: str) -> str:
    """The text with line breaks, control characters and whatever else cannot be seen escaped."""
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]} … {text[-LONGEST // 4 :]}"
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def shown(value: Any, most: int = 60) -> str:
    """A value from outside for a message: as Python writes it, cut to `most` characters."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # Python writes no number of more than 4,300 digits
        return f"a {type(value).__name__} too large to show"
    return text if len(text) <= most else text[: most - 3] + "..."
