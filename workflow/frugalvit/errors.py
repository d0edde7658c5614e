"""Errors that are the user's to mend: each is one line that names the key or file and the remedy."""

from collections.abc import Iterator
from contextlib import contextmanager


class FrugalError(Exception):
    """Base of every error that a user can cause; shown as one line, never as a traceback."""


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
