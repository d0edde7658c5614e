"""Writes config/README.md from the schema, so that every key is documented where it is checked."""

import sys

from frugalvit.config.schema import load_schema
from frugalvit.files import atomic_path

INTRODUCTION = """\
# Configuration

One YAML file is one study: a dataset, a base model, and a list of experiments.
`config/config.yaml` is the embedded study; others lie in `config/studies/` and are chosen with
`--configfile`. Single keys are overridden on the command line, e.g.
`snakemake --cores 4 --config seeds='[0]' 'training={lr: 0.0005}'`.

A wrong key, type, range or name stops before anything runs, with one line that names the key.
Numbers: YAML reads `1e-3` as text; write `0.001` or `1.0e-3`.

This page is made from `workflow/frugalvit/config/study.schema.yaml` by `make config-docs`.

## A schedule in a few lines

```yaml
experiments:
  frozen:            # the head alone
    method: fine_tune
    schedule: [{train: head, epochs: 5}]
  unfreeze_last:     # the head, then everything for the last epoch
    method: fine_tune
    epochs: 5
    schedule: [{train: head, epochs: rest}, {train: all, epochs: 1}]
  last_six:          # patch embedding and first six of twelve blocks frozen
    method: fine_tune
    schedule: [{train: {blocks: 6}, epochs: 5, layer_decay: 0.75}]
```

A phase has its own optimiser, warm-up and learning-rate course. `training` holds the defaults of
every experiment; an experiment overrides them for itself, a phase for itself. `keep_blocks: 6`
keeps the base's first six blocks; `from: <experiment>` starts from that experiment's runs in place of
the base.

## Early exits

```yaml
splits: {calibration: {from: valid, fraction: 0.5}}
experiments:
  early_exit:
    method: early_exit
    schedule: [{train: heads, epochs: 20}, {train: all, epochs: 2, lr: 0.0003}]
    targets: {risk: [{epsilon: 0.02, delta: 0.1}]}   # at most 2 points lost, with probability 90 %
    choose: risk
```

A head after every block; `heads` trains them all on cached features, phases with blocks train them
jointly. Thresholds are made on calibration images, which nothing else sees.

## Adaptive tokens

```yaml
experiments:
  tuned:
    method: fine_tune
    schedule: [{train: head, epochs: 20}, {train: all, epochs: 5, lr: 0.0003}]
  tuned_on:        # the baseline: the same recipe without halting
    method: fine_tune
    from: tuned
    schedule: [{train: all, epochs: 5, lr: 0.0002}]
  avit:            # tokens halt when they have seen enough
    method: avit
    from: tuned    # or base
    baseline: tuned_on
    schedule: [{train: all, epochs: 5, lr: 0.0002}]
    halting: {target_gflops: 8.8, gamma: 10, beta: -5, alpha_ponder: 0.02}
    distillation: {weight: 0.5}
  merged: {method: token_merging, from: tuned_on, r: [8, 4, 12]}
  pruned: {method: token_pruning, from: tuned_on, keep_tokens: [0.7, 0.9, 0.5]}
```

`target_gflops` is the wish, the weight of the ponder loss follows it. What counts for `gamma` and
`beta` is the size of a token's first channel in your base: before training few tokens should halt
early. DeiT suits the presets; a base with small tokens wants a larger `beta`.

## A grid search

```yaml
  search:
    method: fine_tune
    epochs: 5
    schedule: [{train: head, epochs: rest}, {train: all, epochs: 1}]
    grid:
      parameters: {lr: [0.0001, 0.001], epochs: [3, 5], "schedule[1].lr": [0.0001, 0.00001]}
      max_sets: 5
```

The point with the best mean validation accuracy is trained with every seed of the experiment (or
reused where the search trained it already) and marked `selected`; only it is tested.
"""
SECTIONS = {
    "dataset": "Keys of `dataset` (and of `base.pretrain.dataset`).",
    "splits": "Keys of `splits`; an entry of `split_variants` overrides any of them.",
    "base": "Keys of `base`.",
    "training": "Keys of `training`; an experiment can override each of them.",
    "experiment": "Keys of an entry of `experiments`, besides those of `training`.",
    "early_exit": "Keys of an experiment of `method: early_exit`.",
    "token_overrides": "Keys of experiments of `method: avit`, `token_merging` and `token_pruning`.",
    "phase": "Keys of a phase of a `schedule`, besides those it shares with `training`.",
}

TITLES = {"token_overrides": "adaptive tokens"}


def document() -> str:
    """The whole page, as Markdown."""
    schema = load_schema()
    definitions = schema["$defs"]
    parts = [INTRODUCTION, "## Keys\n", "Top level.\n", _table(schema, definitions)]
    shared = {
        key
        for name in ("training_overrides", "exit_overrides", "token_overrides")
        for key in definitions[name]["properties"]
    }
    for name, title in SECTIONS.items():
        part = definitions[name]
        if name in ("experiment", "phase"):
            own = {key: value for key, value in part["properties"].items() if key not in shared}
            part = part | {"properties": own}
        parts += [f"### {TITLES.get(name, name)}\n", f"{title}\n", _table(part, definitions)]
        if name == "training":
            phase = ", ".join(f"`{key}`" for key in definitions["phase_overrides"]["properties"])
            parts.append(f"A phase can override {phase}.\n")
    return "\n".join(parts)


def _table(part: dict, definitions: dict) -> str:
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    required = set(part.get("required", ()))
    for key, default, description, kind in _rows(part, definitions, ""):
        shown = "required" if key in required else default
        lines.append(f"| `{key}` | {kind} | {shown} | {description} |")
    return "\n".join(lines) + "\n"


def _rows(part: dict, definitions: dict, prefix: str):
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
