"""Writes config/README.md from the schemas, so that every key is documented where it is checked."""

import sys
from collections.abc import Iterator

from frugalvit.config.schema import load_schema, method_schema
from frugalvit.files import atomic_path
from frugalvit.methods import registry

INTRODUCTION = """\
# Configuration

One YAML file is one study: a dataset, a base model, and a list of experiments.
`config/config.yaml` is the embedded study; others lie in `config/studies/` and are chosen with
`--configfile`. Single keys are overridden on the command line, e.g.
`snakemake --cores 4 --config seeds='[0]' 'training={lr: 0.0005}'`.

A wrong key, type, range or name stops before anything runs, with one line that names the key.
Numbers are finite, and may be written `0.001`, `1e-3` or `1.0e-3`.

This page is made by `make config-docs` from `workflow/frugalvit/config/study.schema.yaml` and, for what
only one method has, from `schema.yaml` and `docs.md` in `workflow/frugalvit/methods/{method}/`.

"""
SECTIONS = {
    "dataset": "Keys of `dataset` (and of `base.pretrain.dataset`).",
    "splits": "Keys of `splits`; an entry of `split_variants` overrides any of them.",
    "base": "Keys of `base`.",
    "training": "Keys of `training`; an experiment can override each of them.",
    "experiment": "Keys of an entry of `experiments`, besides those of `training` and of its method.",
    "phase": "Keys of a phase of a `schedule`, besides those it shares with `training`.",
}


def document() -> str:
    """The whole page, as Markdown."""
    schema = load_schema()
    definitions = schema["$defs"]
    parts = [INTRODUCTION, "## Keys\n", "Top level.\n", _table(schema, definitions)]
    of_methods = {key for name in registry.METHODS for key in method_schema(name)}
    shared = of_methods | set(definitions["training_overrides"]["properties"])
    for name, title in SECTIONS.items():
        part = definitions[name]
        if name in ("experiment", "phase"):
            own = {key: value for key, value in part["properties"].items() if key not in shared}
            part = {"properties": own, "required": part["required"]}
        parts += [f"### {name}\n", f"{title}\n", _table(part, definitions)]
        if name == "training":
            phase = ", ".join(f"`{key}`" for key in definitions["phase_overrides"]["properties"])
            parts.append(f"A phase can override {phase}.\n")
    parts.append("# Methods\n")
    for name in registry.METHODS:
        parts.append((registry.room(name) / "docs.md").read_text())
        keys = method_schema(name)
        if keys:
            parts += [f"Keys of `method: {name}`.\n", _table({"properties": keys}, definitions)]
    return "\n".join(parts)


def _table(part: dict, definitions: dict) -> str:
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    required = set(part.get("required", ()))
    for key, default, description, kind in _rows(part, definitions, ""):
        shown = "required" if key in required else default
        lines.append(f"| `{key}` | {kind} | {shown} | {description} |")
    return "\n".join(lines) + "\n"


def _rows(part: dict, definitions: dict, prefix: str) -> Iterator[tuple[str, str, str, str]]:
    for key, value in _properties(part, definitions).items():
        resolved = _resolve(value, definitions)
        nested = _properties(resolved, definitions)
        documented_elsewhere = "$ref" in value and nested
        yield (
            prefix + key,
            _show(resolved.get("default"), "default" in resolved),
            resolved.get("description", "").replace("|", "\\|"),
            _kind(resolved),
        )
        if nested and not documented_elsewhere:
            yield from _rows(resolved, definitions, f"{prefix}{key}.")


def _resolve(value: dict, definitions: dict) -> dict:
    while "$ref" in value:
        target = definitions[value["$ref"].rsplit("/", 1)[1]]
        value = target | {key: item for key, item in value.items() if key != "$ref"}
    return value


def _properties(part: dict, definitions: dict) -> dict:
    """Properties, with those that `allOf` brings in beneath their defaults here."""
    found: dict = {}
    for inherited in part.get("allOf", ()):
        found |= _properties(_resolve(inherited, definitions), definitions)
    for key, value in part.get("properties", {}).items():
        base = found.get(key, {})
        merged = base | value
        if "properties" in base and "properties" in value:
            merged["properties"] = {
                name: base["properties"].get(name, {}) | value["properties"].get(name, {})
                for name in base["properties"] | value["properties"]
            }
        found[key] = merged
    return found


def _show(default: object, exists: bool) -> str:
    if not exists:
        return ""
    if default is None:
        return "null"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return "" if default == {} else f"`{default}`"


def _kind(value: dict) -> str:
    if "enum" in value:
        return " \\| ".join("null" if item is None else str(item) for item in value["enum"])
    kind = value.get("type", value.get("x-expects", ""))
    kinds = [kind] if isinstance(kind, str) else kind
    limits = [
        f"{sign} {value[name]}"
        for name, sign in (
            ("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<")
        )
        if name in value
    ]  # fmt: skip
    return " ".join([" or ".join(kinds), *([f"({', '.join(limits)})"] if limits else [])])


if __name__ == "__main__":
    with atomic_path(sys.argv[1]) as temporary:
        temporary.write_text(document())
