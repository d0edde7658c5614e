"""Every place of the schema that takes a number, and studies that hold a value there."""

from collections.abc import Iterator
from typing import Any

from frugalvit.config.schema import load_schema, method_schema
from frugalvit.methods.registry import METHODS

ONE = ("experiments", "one")


def numbers() -> dict[tuple, dict]:
    """Steps that lead to a number in a study -> its schema."""
    found = dict(_numbers(load_schema()))
    for method in METHODS:
        found |= {(*ONE, *steps): part for steps, part in _numbers(_keys_of(method))}
    return found


def study_with(steps: tuple, value: Any) -> dict:
    """The shortest study that the schema takes but for what stands at `steps`."""
    study = _sample(load_schema())
    entry = steps[len(ONE) :]
    for method in METHODS if steps[: len(ONE)] == ONE else ():
        built = _build(_keys_of(method), entry, value)
        if built is not None:
            return study | {"experiments": {"one": {"method": method} | built}}
    return _build(load_schema(), steps, value)


def _keys_of(method: str) -> dict:
    return {"properties": method_schema(method)}


def _resolved(part: dict) -> dict:
    while "$ref" in part:
        rest = {key: value for key, value in part.items() if key != "$ref"}
        part = load_schema()["$defs"][part["$ref"].rsplit("/", 1)[1]] | rest
    return part


def _options(part: dict) -> list[dict]:
    part = _resolved(part)
    return [
        part,
        *(_resolved(inner) for name in ("allOf", "anyOf") for inner in part.get(name, ())),
    ]


def _types(part: dict) -> set[str]:
    types = part.get("type", [])
    return {types} if isinstance(types, str) else set(types)


def _numbers(part: dict, steps: tuple = ()) -> Iterator[tuple[tuple, dict]]:
    for option in _options(part):
        if {"number", "integer"} & _types(option):
            yield steps, option
        for key, inner in option.get("properties", {}).items():
            yield from _numbers(inner, (*steps, key))
        if isinstance(option.get("additionalProperties"), dict):
            yield from _numbers(option["additionalProperties"], (*steps, "one"))
        if "items" in option:
            yield from _numbers(option["items"], (*steps, 0))


def _build(part: dict, steps: tuple, value: Any) -> Any:
    """What the schema takes, with `value` at `steps`; None where they lead nowhere."""
    if not steps:
        return value
    for option in _options(part):
        if steps[0] == 0:
            inner = option.get("items")
        else:
            named = option.get("properties", {})
            inner = named.get(steps[0], option.get("additionalProperties") or None)
        built = None if inner is None else _build(inner, steps[1:], value)
        if built is None:
            continue
        if steps[0] == 0:
            return [built] * option.get("minItems", 1)
        return _required(option) | {steps[0]: built}
    return None


def _required(part: dict) -> dict:
    return {key: _sample(part["properties"][key]) for key in part.get("required", ())}


def _sample(part: dict) -> Any:
    part = _resolved(part)
    if "enum" in part:
        return part["enum"][0]
    if "anyOf" in part:
        return _sample(part["anyOf"][0])
    types = _types(part)
    if "object" in types:
        free = part.get("additionalProperties")
        named = {"one": _sample(free)} if part.get("minProperties") and free else {}
        return _required(part) | named
    if "array" in types:
        return [1] * part.get("minItems", 1)
    return "one" if "string" in types else next(iter(fitting(part)))


def fitting(part: dict) -> Iterator[float]:
    """Numbers within the limits of a number's schema."""
    for number in (1, 0.5, 0.25, 10, 60, 150, 200, 600, 1000):
        if (
            (isinstance(number, int) or "number" in _types(part))
            and part.get("minimum", number) <= number <= part.get("maximum", number)
            and part.get("exclusiveMinimum", -1) < number < part.get("exclusiveMaximum", 10**6)
        ):
            yield number
