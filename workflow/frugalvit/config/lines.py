"""Keys as errors write them, `experiments.frozen.schedule[0].train`, and the line where one stands."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from frugalvit.errors import one_line, shown

LONGEST_KEY = 60  # that is written whole
_STEP = re.compile(r"([^.\[\]]+)|\[([0-9]{1,9})\]")


def key_path(steps: Iterable[Any], at: str = "") -> str:
    """`experiments.frozen.schedule[0].train` from the steps that lead there.

    Args:
        steps: keys and places in lists.
        at: key from which they start.
    """
    path = at
    for step in steps:
        if isinstance(step, int):
            path += f"[{shown(step)}]"
        else:
            key = step if isinstance(step, str) and len(step) <= LONGEST_KEY else shown(step)
            path += f".{key}" if path else key
    return path


def steps_of(path: str) -> list[str | int]:
    """The steps of `key_path`, from what it wrote."""
    return [int(index) if index else key for key, index in _STEP.findall(path)]


def located(error: Exception, files: Iterable[str | Path], overrides: dict | None = None) -> str:
    """An error's words, with the line to mend behind them where one of `files` has it.

    Args:
        error: its message starts with a key, as in `dataset.path: no folder …`.
        files: the study's files in the order in which they were read; the last counts.
        overrides: what the command line set, which no line of a file does.
    """
    message = str(error)
    steps = steps_of(message.partition(":")[0])
    if _has(overrides or {}, steps):
        return message
    for path in reversed(list(files)):
        if line := _line(Path(path), steps):
            return f"{message} (line {line} of {one_line(str(_short(Path(path))))})"
    return message


def _short(path: Path) -> Path:
    """The path as a user would write it here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _has(value: Any, steps: list) -> bool:
    for step in steps:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def _line(path: Path, steps: list) -> int | None:
    """Line of the key, or of the last one on the way to it that the file has."""
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, ValueError, yaml.YAMLError):
        return None
    line = None
    for step in steps:
        if isinstance(node, yaml.MappingNode):
            found = next((pair for pair in node.value if pair[0].value == step), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            found = (node.value[step], node.value[step]) if step < len(node.value) else None
        else:
            found = None
        if found is None:
            break
        line, node = found[0].start_mark.line + 1, found[1]
    return line
