"""The sources there are: a line each. Their files are loaded when they are asked for."""

from functools import cache
from importlib import import_module

from frugalvit.data.sources.source import Source

SOURCES = (
    "digits",
    "flowers102",
    "cifar10",
    "fashion_mnist",
    "caltech256",
    "yolo",
    "coco",
    "folder",
    "archive",
)


@cache
def source(name: str) -> Source:
    """What a source answers."""
    return import_module(module_of(name)).SOURCE


def module_of(name: str) -> str:
    """Dotted name of a source's file, for the digest of what runs it."""
    return f"{__package__}.{name}"


def source_stamp(dataset: dict) -> str:
    """Checksum that changes with a user's own folder or archive; empty for any other source.

    For a rule's parameters, so that an edited folder of images reruns what depends on it.
    """
    return source(dataset["source"]).stamp(dataset)
