"""Reading and validating a study's configuration: defaults filled in, every mistake one line."""

import copy
import difflib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError, validators

from frugalvit.data.sources.all_sources import SOURCES
from frugalvit.errors import ConfigError
from frugalvit.methods import registry
from frugalvit.methods.method import PLAIN

SCHEMA = Path(__file__).with_name("study.schema.yaml")
MOST_LISTED = 20  # keys that an error names
SEE_DOCS = "config/README.md lists the known keys"
_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a block of keys",
    "null": "null",
}


# What checks, what explains, and `x-expects`, our own: how an error says what to write.
_KEYWORDS = {*Draft202012Validator.VALIDATORS, "then", "else", "$schema", "$defs", "$comment",
             "title", "description", "default", "examples", "x-expects"}  # fmt: skip
_OF_NAMES = ("properties", "$defs", "patternProperties", "dependentSchemas")  # name -> schema
_OF_DATA = ("default", "const", "dependentRequired")  # no schemas


class _StrictLoader(yaml.SafeLoader):
    """YAML without silently overwritten keys: of two experiments of one name, one would vanish."""


def _mapping_without_duplicates(loader: _StrictLoader, node: yaml.MappingNode) -> dict:
    seen = set()
    for key_node, _ in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue
        key = loader.construct_object(key_node)
        if key in seen:
            line = key_node.start_mark.line + 1
            raise ConfigError(
                f"{loader.name}, line {line}: '{key}' stands twice; rename one of them"
            )
        seen.add(key)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_constructor(
    yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_duplicates
)


def read_yaml(path: str | Path) -> dict:
    """Read one YAML file; a key that stands twice in a block is an error."""
    path = Path(path)
    try:
        with path.open() as file:
            loader = _StrictLoader(file)
            loader.name = str(path)
            value = loader.get_single_data()
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such configuration file; check --configfile") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not readable"
        raise ConfigError(f"{path}{place}: not valid YAML ({problem}); mend that line") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: a study is a block of keys; start from config/config.yaml")
    return value


@cache
def load_schema() -> dict:
    """The JSON schema of a study: the base file, and what the methods' rooms add to it.

    An experiment may have any method's keys here, so that one of another method's meets a better
    message than an unknown key does; those of its own method are checked and completed.
    """
    schema = yaml.safe_load(SCHEMA.read_text())
    definitions = schema["$defs"]
    definitions["dataset"]["properties"]["source"]["enum"] = list(SOURCES)
    experiment, phase = definitions["experiment"], definitions["phase"]["properties"]["train"]
    experiment["allOf"] = []
    for name in registry.METHODS:
        own = method_schema(name)
        for key in own:
            experiment["properties"].setdefault(key, {})
        is_it = {"properties": {"method": {"const": name}}, "required": ["method"]}
        experiment["allOf"].append({"if": is_it, "then": {"properties": own}})
        heads = registry.method(name).head_phases
        phase["anyOf"][0]["enum"] += [
            word for word in heads if word not in phase["anyOf"][0]["enum"]
        ]
        if heads != registry.method(PLAIN).head_phases:
            words = registry.method(name).look.words
            phase["x-expects"] += f"; with {words} {', '.join(heads)}, all or {{blocks: k}}"
    told = {name: registry.method(name).summary for name in registry.METHODS}
    words = ", ".join(f"{name} ({what})" if what else name for name, what in told.items())
    method = experiment["properties"]["method"]
    method["enum"] = list(registry.METHODS)
    method["description"] += f": {words}."
    for stray in unknown_keywords(schema):
        raise ConfigError(
            f"{stray}: no keyword of a schema; quote the description that breaks at its comma"
        )
    return schema


def unknown_keywords(schema: dict, at: tuple[str, ...] = ()) -> list[str]:
    """Paths of keys that are no keywords where a schema stands; they would check nothing."""
    found = []
    for key, value in schema.items():
        if key not in _KEYWORDS:
            found.append(".".join((*at, key)))
        elif key in _OF_NAMES:
            for name, part in value.items():
                found += unknown_keywords(part, (*at, key, name))
        elif key in ("allOf", "anyOf", "oneOf", "prefixItems"):
            for index, part in enumerate(value):
                found += unknown_keywords(part, (*at, key, str(index)))
        elif isinstance(value, dict) and key not in _OF_DATA:
            found += unknown_keywords(value, (*at, key))
    return found


@cache
def method_schema(name: str) -> dict:
    """The keys that only a method's experiments have: key -> JSON schema."""
    return yaml.safe_load((registry.room(name) / "schema.yaml").read_text())


def _fill_defaults(validate_properties: Any) -> Any:
    def properties(
        validator: Any, properties: dict, instance: Any, schema: dict
    ) -> Iterator[ValidationError]:
        if isinstance(instance, dict):
            for key, subschema in properties.items():
                if "default" in subschema:
                    default = subschema["default"]
                    # A fresh container each time: the schema must not be changed by what fills it.
                    instance.setdefault(
                        key, type(default)(default) if _is_container(default) else default
                    )
        yield from validate_properties(validator, properties, instance, schema)

    return properties


def _is_container(value: Any) -> bool:
    return isinstance(value, dict | list)


def _is_whole(_: Any, value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_Validator = validators.extend(
    Draft202012Validator,
    {"properties": _fill_defaults(Draft202012Validator.VALIDATORS["properties"])},
    # JSON takes 2.0 for an integer, Python's range does not.
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_whole),
)


def validate(instance: dict, part: str | None = None, at: str = "") -> dict:
    """Fill `instance` with defaults, in place, and return it.

    Args:
        instance: a whole study, or the part of one that `part` names.
        part: a definition of the schema (`experiment`, `splits`); the whole study when None.
        at: key under which a part stands, for the message.

    Raises:
        ConfigError: at the first mistake; one line with the key and the remedy.
    """
    schema = load_schema()
    if part:
        schema = {"$defs": schema["$defs"], "$ref": f"#/$defs/{part}"}
    errors = list(_Validator(schema).iter_errors(instance))
    if errors:
        first = min(
            errors, key=lambda error: (_severity(error), list(map(str, error.absolute_path)))
        )
        raise ConfigError(_one_line(first, at))
    return instance


def _severity(error: ValidationError) -> int:
    # An unknown key explains a missing one (a typo), so it is told first.
    if "propertyNames" in error.absolute_schema_path:
        return 0
    return {"additionalProperties": 0, "required": 1}.get(error.validator, 2)


def key_path(parts: Iterable[Any], at: str = "") -> str:
    """`experiments.frozen.schedule[0].train` from the steps that lead there."""
    path = at
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else (f".{part}" if path else str(part))
    return path


def _one_line(error: ValidationError, at: str) -> str:
    where = key_path(error.absolute_path, at) or "the study"
    value, schema = error.instance, error.schema
    shown = repr(value) if len(repr(value)) <= 60 else repr(value)[:57] + "..."
    if error.validator == "additionalProperties":
        known = list(schema.get("properties", {}))
        unknown = next(key for key in value if key not in known)
        close = difflib.get_close_matches(str(unknown), known, n=1)
        listed = f"use one of: {', '.join(known)}" if len(known) <= MOST_LISTED else SEE_DOCS
        hint = f"did you mean '{close[0]}'?" if close else listed
        return f"{key_path([*error.absolute_path, unknown], at)}: unknown key; {hint}"
    if error.validator == "required":
        missing = next(key for key in error.validator_value if key not in value)
        about = schema.get("properties", {}).get(missing, {}).get("description", "")
        return (
            f"{key_path([*error.absolute_path, missing], at)}: missing; add it ({about})".replace(
                " ()", ""
            )
        )
    if "x-expects" in schema:
        name = "name " if "propertyNames" in error.absolute_schema_path else ""
        return f"{where}: {name}{shown} is not allowed; write {schema['x-expects']}"
    if error.validator == "type":
        return f"{where}: {_type_problem(value, shown, error.validator_value)}"
    return f"{where}: {_range_problem(error, shown)}"


def _type_problem(value: Any, shown: str, wanted: str | list[str]) -> str:
    names = [wanted] if isinstance(wanted, str) else wanted
    text = " or ".join(_TYPES[name] for name in names)
    if isinstance(value, str) and {"number", "integer"} & set(names):
        try:
            number = float(value)
        except ValueError:
            pass
        else:
            return (
                f"{shown} is read as text; write {number:g} (YAML takes 1e-3 as text, 1.0e-3 not)"
            )
    return f"{shown} is not {text}; write {text}"


def _range_problem(error: ValidationError, shown: str) -> str:
    limit = error.validator_value
    return {
        "enum": lambda: (
            f"{shown} is unknown; use one of: "
            + ", ".join("null" if choice is None else str(choice) for choice in limit)
        ),
        "minimum": lambda: f"{shown} is too small; at least {limit}",
        "maximum": lambda: f"{shown} is too large; at most {limit}",
        "exclusiveMinimum": lambda: f"{shown} is too small; more than {limit}",
        "exclusiveMaximum": lambda: f"{shown} is too large; less than {limit}",
        "minItems": lambda: f"{shown} has too few entries; at least {limit}",
        "maxItems": lambda: f"{shown} has too many entries; at most {limit}",
        "minProperties": lambda: f"empty; name at least {limit} entry",
        "uniqueItems": lambda: f"{shown} names an entry twice; keep one of each",
    }.get(error.validator, lambda: error.message)()


def retype(value: Any) -> Any:
    """Give overrides of the command line their types: Snakemake reads what is nested in them as text."""
    if isinstance(value, dict):
        return {key: retype(item) for key, item in value.items()}
    if isinstance(value, list):
        return [retype(item) for item in value]
    if not isinstance(value, str) or not value:
        return value
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        return value  # text that happens to look like YAML


def merge(base: dict, changes: dict) -> dict:
    """A copy of `base` with `changes` over it, block by block."""
    merged = copy.deepcopy(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else copy.deepcopy(value)
    return merged
