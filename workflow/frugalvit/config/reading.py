"""Reading a study's file: one line about whatever YAML or Python would stumble over.

    python -m frugalvit.config.reading config/config.yaml

Snakemake reads what `--configfile` names before any line of ours runs; `make` calls this first.
"""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

from frugalvit.config import numbers
from frugalvit.config.lines import key_path
from frugalvit.errors import ConfigError, FrugalError, shown

MOST_BYTES = 1_000_000
MOST_ENTRIES = 50_000  # with aliases written out, of which a short file can hold billions
DEEPEST = 50  # blocks and lists inside each other
_KINDS = {
    "timestamp": "a date",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
}


class _StrictLoader(yaml.SafeLoader):
    """YAML without silently overwritten keys: of two experiments of one name, one would vanish."""

    name: str  # of the file

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """The value of a node; PyYAML's converters raise what they like at an impossible one."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, TypeError, AttributeError, LookupError, OverflowError):
            kind = node.tag.rpartition(":")[2]
            raise ConfigError(
                f"{_place(self, node)}: {shown(node.value)} is not {_KINDS.get(kind, kind)}; "
                "correct it, or put it in quotes if it is text"
            ) from None


def _place(loader: _StrictLoader, node: yaml.Node) -> str:
    return f"{loader.name}, line {node.start_mark.line + 1}"


def _mapping_without_duplicates(loader: _StrictLoader, node: yaml.MappingNode) -> dict:
    seen = set()
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigError(
                f"{_place(loader, key_node)}: a list or a block stands where a key does; "
                "write a name before the colon"
            )
        key = loader.construct_object(key_node)
        if key in seen:
            raise ConfigError(
                f"{_place(loader, key_node)}: '{key}' stands twice; rename one of them"
            )
        seen.add(key)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_constructor(
    yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_duplicates
)


def read_yaml(path: str | Path) -> dict:
    """Read one YAML file; a key that stands twice in a block is an error.

    Raises:
        ConfigError: one line that names the file, where it can the line, and the remedy.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file; check --configfile") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; check --configfile") from None
    if len(raw) > MOST_BYTES:
        raise ConfigError(f"{path}: larger than 1 MB; a study is a few kilobytes of YAML")
    value = _parsed(_decoded(raw, str(path)), str(path))
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: a study is a block of keys; start from config/config.yaml")
    return value


def _decoded(raw: bytes, name: str) -> str:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError(f"{name}, line {line}: not UTF-8; save the file as UTF-8") from None
    if "\0" in text:
        raise ConfigError(f"{name}: not UTF-8, perhaps UTF-16; save the file as UTF-8")
    return text


def _parsed(text: str, name: str) -> Any:
    try:
        loader = _StrictLoader(text)
        loader.name = name
        node = loader.get_single_node()
        if node is None:
            return None
        check_extent(node, name, _parts_of_node)
        value = loader.construct_document(node)
        check_extent(value, name)
        return value
    except RecursionError:
        raise ConfigError(_too_deep(name)) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", "not readable")
        raise ConfigError(f"{name}{place}: not valid YAML ({problem}); mend that line") from None


def _parts_of_node(node: yaml.Node) -> Iterable[tuple[Any, yaml.Node]]:
    if isinstance(node, yaml.MappingNode):
        return [(key.value, part) for key, value in node.value for part in (key, value)]
    return enumerate(node.value) if isinstance(node, yaml.SequenceNode) else ()


def _parts_of_value(value: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, dict):
        return value.items()
    return enumerate(value) if isinstance(value, list | tuple) else ()


def check_extent(
    root: Any,
    name: str,
    parts: Callable[[Any], Iterable[tuple[Any, Any]]] = _parts_of_value,
) -> None:
    """Refuse what no study holds, and what would take long or too much memory to look at.

    That is what holds itself, is nested too deeply, has too many entries with YAML's aliases
    written out, or whole numbers that Python cannot even write.

    Args:
        root: a study, a part of one, or its node in YAML.
        name: of it, for the message.
        parts: what a value holds, with the key or the place of each.

    Raises:
        ConfigError: one line.
    """
    waiting: list[tuple[tuple, Any]] = [((), root)]
    count = 0
    while waiting:
        steps, value = waiting.pop()
        count += 1
        if count > MOST_ENTRIES:
            raise ConfigError(
                f"{name}: more than {MOST_ENTRIES:,} entries, counted with aliases written out; "
                "divide the study"
            )
        if len(steps) > DEEPEST:
            raise ConfigError(_too_deep(name))
        for number in (value, *steps[-1:]):
            if isinstance(number, int) and (problem := numbers.problem(number)):
                raise ConfigError(f"{key_path(steps) or name}: {problem}")
        waiting += [((*steps, step), part) for step, part in parts(value)]


def _too_deep(name: str) -> str:
    return f"{name}: more than {DEEPEST} blocks and lists inside each other; no key lies so deep"


def retype(value: Any) -> Any:
    """Give overrides of the command line their types: Snakemake reads what is nested in them as text.

    Raises:
        ConfigError: they are too many, or nested too deeply.
    """
    check_extent(value, "--config")
    return _retyped(value)


def _retyped(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _retyped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_retyped(item) for item in value]
    if not isinstance(value, str) or not value:
        return value
    try:
        return _parsed(value, "--config")
    except ConfigError:
        return value  # text that happens to look like YAML


if __name__ == "__main__":
    try:
        for file in sys.argv[1:]:
            read_yaml(file)
    except FrugalError as error:
        sys.exit(f"error in the configuration: {error}")
