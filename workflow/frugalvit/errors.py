"""Errors that are the user's to mend: each is one line that names the key or file and the remedy."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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


@contextmanager
def within(key: str) -> Iterator[None]:
    """Put a key before the words of a `ConfigError` that lacks it."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from None


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
