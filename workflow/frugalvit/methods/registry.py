"""The methods there are: a line each. Their rooms are loaded when they are asked for."""

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from frugalvit.methods.method import Method

METHODS = (
    "fine_tune",
    "early_exit",
    "avit",
    "token_merging",
    "token_pruning",
    "localize",
    "scratch",
)


@cache
def method(name: str) -> Method:
    """What a method answers without torch."""
    return import_module(f"frugalvit.methods.{name}.keys").METHOD


def part(name: str, file: str) -> Any:
    """A part of a method's room: its `model`, `objective`, `tables` or `points`."""
    return import_module(f"frugalvit.methods.{name}.{file}")


def has(name: str, file: str) -> bool:
    """Whether a method's room has a part."""
    return (room(name) / f"{file}.py").is_file()


def room(name: str) -> Path:
    """Folder of a method."""
    return Path(__file__).parent / name
