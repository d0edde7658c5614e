"""Validating a study's configuration: defaults filled in, every mistake one line."""

import copy
import difflib
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, FormatChecker, ValidationError, validators

from frugalvit.config import numbers
from frugalvit.config.lines import LONGEST_KEY, key_path
from frugalvit.data.sources.all_sources import SOURCES
from frugalvit.errors import ConfigError, shown
from frugalvit.methods import registry
from frugalvit.methods.method import PLAIN

SCHEMA = Path(__file__).with_name("study.schema.yaml")
LONGEST_NAME, LONGEST_PATH = 255, 4096  # bytes that file systems take
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

# The same in C, where PyYAML was built with it: Snakemake reads the schemas at each start.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# What checks, what explains, and `x-expects`, our own: how an error says what to write.
_KEYWORDS = {*Draft202012Validator.VALIDATORS, "then", "else", "$schema", "$defs", "$comment",
             "title", "description", "default", "examples", "x-expects"}  # fmt: skip
_OF_NAMES = ("properties", "$defs", "patternProperties", "dependentSchemas")  # name -> schema
_OF_DATA = ("default", "const", "dependentRequired")  # no schemas


@cache
def load_schema() -> dict:
    """The JSON schema of a study: the base file, and what the methods' rooms add to it.

    An experiment may have any method's keys here, so that one of another method's meets a better
    message than an unknown key does; those of its own method are checked and completed.
    """
    schema = yaml.load(SCHEMA.read_text(), Loader=_Loader)
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
            allowed = f"{', '.join(heads)}, all or {{blocks: k}}" if heads else "all"
            phase["x-expects"] += f"; with {words} {allowed}"
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
    return yaml.load((registry.room(name) / "schema.yaml").read_text(), Loader=_Loader)


def _complete(validate_properties: Any) -> Any:
    """A check of keys that fills in defaults first, and takes text for numbers where they are wanted."""

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
                if key in instance:
                    instance[key] = numbers.from_text(instance[key], _types(subschema))
        yield from validate_properties(validator, properties, instance, schema)

    return properties


def _of_any_name(validate_others: Any) -> Any:
    """A check of keys of any name that takes text for numbers first, where numbers are wanted."""

    def check(validator: Any, value: Any, instance: Any, schema: dict) -> Iterator[ValidationError]:
        if isinstance(instance, dict) and isinstance(value, dict):
            for key in instance.keys() - schema.get("properties", {}).keys():
                instance[key] = numbers.from_text(instance[key], _types(value))
        yield from validate_others(validator, value, instance, schema)

    return check


def _is_container(value: Any) -> bool:
    return isinstance(value, dict | list)


def _types(schema: dict) -> set[str]:
    """Types that a part of the schema takes, with those of what it refers to."""
    if "$ref" in schema:
        schema = load_schema()["$defs"][schema["$ref"].rsplit("/", 1)[1]] | schema
    kinds = schema.get("type", [])
    found = {kinds} if isinstance(kinds, str) else set(kinds)
    return found.union(*(_types(part) for part in schema.get("anyOf", ())))


def _in_list(validate_items: Any) -> Any:
    """A check of lists that takes text in them for numbers first, where numbers are wanted."""

    def check(validator: Any, value: Any, instance: Any, schema: dict) -> Iterator[ValidationError]:
        if isinstance(instance, list) and "items" in schema:
            types = _types(schema["items"])
            instance[:] = [numbers.from_text(item, types) for item in instance]
        yield from validate_items(validator, value, instance, schema)

    return check


def _all_differ(_: Any, wanted: bool, instance: Any, schema: dict) -> Iterator[ValidationError]:
    # jsonschema compares each with each where they cannot be sorted.
    if wanted and isinstance(instance, list) and len(set(map(hashable, instance))) < len(instance):
        yield ValidationError("names an entry twice")


def hashable(value: Any) -> Any:
    """What equals another's exactly where the two values do; true is not 1."""
    if isinstance(value, dict):
        return frozenset((key, hashable(item)) for key, item in value.items())
    if isinstance(value, list | tuple | set):
        return (list, *map(hashable, value))
    return (bool, value) if isinstance(value, bool) else value


def _may_be_path(value: Any) -> bool:
    """Whether a file could lie there, or an address be meant: `OSError` names no key."""
    if not isinstance(value, str) or value.startswith(("http://", "https://")):
        return True
    try:
        raw = os.fsencode(value)
    except UnicodeEncodeError:
        return False
    names = raw.split(b"/")
    return b"\0" not in raw and len(raw) < LONGEST_PATH and max(map(len, names)) <= LONGEST_NAME


_FORMATS = FormatChecker(formats=())
_FORMATS.checks("path")(_may_be_path)
_CHECKS = Draft202012Validator.VALIDATORS
_Validator = validators.extend(
    Draft202012Validator,
    {
        "properties": _complete(_CHECKS["properties"]),
        "additionalProperties": _of_any_name(_CHECKS["additionalProperties"]),
        "items": _in_list(_CHECKS["items"]),
        "uniqueItems": _in_list(_all_differ),
    },
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "integer": lambda _, value: numbers.is_whole(value),
            "number": lambda _, value: numbers.is_number(value),
        }
    ),
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
    errors = list(_Validator(schema, format_checker=_FORMATS).iter_errors(instance))
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


def _one_line(error: ValidationError, at: str) -> str:
    where = key_path(error.absolute_path, at) or "the study"
    value, schema = error.instance, error.schema
    text = shown(value)
    if error.validator == "additionalProperties":
        known = list(schema.get("properties", {}))
        unknown = next(key for key in value if key not in known)
        close = difflib.get_close_matches(str(unknown)[:LONGEST_KEY], known, n=1)
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
        return f"{where}: {name}{text} is not allowed; write {schema['x-expects']}"
    if error.validator == "type":
        return f"{where}: {_type_problem(value, text, error.validator_value)}"
    return f"{where}: {_range_problem(error, text)}"


def _type_problem(value: Any, text: str, wanted: str | list[str]) -> str:
    names = [wanted] if isinstance(wanted, str) else wanted
    kinds = " or ".join(_TYPES[name] for name in names)
    if {"number", "integer"} & set(names) and (problem := numbers.problem(value)):
        return problem
    return f"{text} is not {kinds}; write {kinds}"


def _range_problem(error: ValidationError, text: str) -> str:
    limit = error.validator_value
    return {
        "enum": lambda: (
            f"{text} is unknown; use one of: "
            + ", ".join("null" if choice is None else str(choice) for choice in limit)
        ),
        "minimum": lambda: f"{text} is too small; at least {limit}",
        "maximum": lambda: f"{text} is too large; at most {limit}",
        "exclusiveMinimum": lambda: f"{text} is too small; more than {limit}",
        "exclusiveMaximum": lambda: f"{text} is too large; less than {limit}",
        "minItems": lambda: f"{text} has too few entries; at least {limit}",
        "maxItems": lambda: f"{text} has too many entries; at most {limit}",
        "minProperties": lambda: f"empty; name at least {limit} entry",
        "maxProperties": lambda: f"names {', '.join(map(str, error.instance))}; keep {limit}",
        "format": lambda: (
            f"{text} cannot be a path; each name in it has {LONGEST_NAME} bytes at most"
        ),
        "uniqueItems": lambda: f"{text} names an entry twice; keep one of each",
    }.get(error.validator, lambda: error.message)()


def merge(base: dict, changes: dict) -> dict:
    """A copy of `base` with `changes` over it, block by block."""
    merged = copy.deepcopy(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else copy.deepcopy(value)
    return merged
