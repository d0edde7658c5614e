"""Which part of the backbone a phase of a schedule trains, and how fast.

`train` is what a phase says: `head` (only the classifier), `heads` (the classifier and what a model
has besides its backbone), one such part of its own (`exits`), `all`, or `{"blocks": k}` (the last k
blocks, the final norm and all heads). Parts are those of `models.backbone.parameter_part`.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from frugalvit.errors import ConfigError
from frugalvit.models.backbone import (
    backbone_of,
    block_count,
    own_parts,
    parameter_part,
    part_names,
)
from frugalvit.models.heads import Pooled
from frugalvit.models.networks.network import Network

log = logging.getLogger(__name__)

Train = str | dict[str, int]
Schedules = Mapping[str, Sequence[Mapping[str, Any]]]


def train_label(train: Train) -> str:
    """How history, cards and figures name what trains: `head`, `blocks: 6` or `all`."""
    return train if isinstance(train, str) else f"blocks: {train['blocks']}"


def trainable_parts(train: Train, num_layers: int, own: Sequence[str] = ()) -> list[str]:
    """The parts that train, in the order in which an image passes them.

    Args:
        train: what a phase says.
        num_layers: blocks of the model.
        own: parts that it has besides its backbone's (`models.backbone.own_parts`).

    Raises:
        ConfigError: `train` is none of its forms, or names more blocks than there are. The
            message lacks the key of the phase, which the caller knows.
    """
    parts = part_names(num_layers, own)
    if train == "all":
        return parts
    of_heads = {"head": ["head"], "heads": ["head", *own], **{part: [part] for part in own}}
    if isinstance(train, str) and train in of_heads:
        return of_heads[train]
    blocks = train.get("blocks") if isinstance(train, dict) and len(train) == 1 else None
    if not isinstance(blocks, int) or isinstance(blocks, bool):
        words = ", ".join(f"'{word}'" for word in (*of_heads, "all"))
        raise ConfigError(f"{train!r} is none of {words} and 'blocks: <number>'")
    if blocks < 1:
        raise ConfigError(f"'blocks: {blocks}' trains no block: write 'head' for the head alone")
    if blocks > num_layers:
        raise ConfigError(f"'blocks: {blocks}' but the base has {num_layers} blocks")
    return parts[parts.index(f"block {num_layers - blocks + 1}") :]


def apply_freeze(model: nn.Module, train: Train) -> None:
    """Set `requires_grad` of every parameter to whether its part trains; drop stale gradients.

    Raises:
        ConfigError: see `trainable_parts`.
    """
    parts = set(parts_trained(model, train))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(parameter_part(name) in parts)
        if not parameter.requires_grad:
            parameter.grad = None


def parts_trained(model: nn.Module, train: Train) -> list[str]:
    """The parts of a model that train; see `trainable_parts`."""
    return trainable_parts(train, num_layers_of(model), own_parts(model))


def num_layers_of(model: nn.Module) -> int:
    """Encoder blocks of a model or of the backbone that it observes; 0 of a network without any."""
    return block_count(model)


def set_modes(model: nn.Module) -> None:
    """Put what trains into training mode and everything frozen into evaluation mode.

    Without this, dropout would make a frozen backbone answer differently on every call, and
    differently from its cached features.
    """
    model.train()
    if isinstance(model, Pooled):
        for module in model.children():
            module.train(any(parameter.requires_grad for parameter in module.parameters()))
        return
    if not num_layers_of(model):  # nothing of it is ever frozen
        return
    backbone = backbone_of(model)
    for module in (backbone.conv_proj, *backbone.encoder.layers, backbone.encoder.ln):
        module.train(any(parameter.requires_grad for parameter in module.parameters()))
    backbone.encoder.dropout.train(backbone.encoder.pos_embedding.requires_grad)


def parameter_groups(
    model: nn.Module,
    train: Train,
    lr: float,
    weight_decay: float = 0.0,
    layer_decay: float = 1.0,
) -> list[dict[str, Any]]:
    """Optimiser groups of the parameters that train, each with a `name` and an `lr_scale`.

    Learning rates fall by `layer_decay` per block from the head down (BEiT, Bao et al. 2022,
    appendix): heads and final norm `lr`, block k of N `lr * layer_decay ** (N + 1 - k)`, embeddings
    `lr * layer_decay ** (N + 1)`. timm does the same, but counts the final norm to block N.
    Biases, norms, positions and the class token take no weight decay.

    Raises:
        ConfigError: see `trainable_parts`.
    """
    num_layers = num_layers_of(model)
    groups: dict[str, dict[str, Any]] = {}
    parts = set(parts_trained(model, train))
    for name, parameter in model.named_parameters():
        part = parameter_part(name)
        if part not in parts:
            continue
        decays = parameter.ndim > 1 and part != "positions"
        scale = layer_decay ** _distance_to_head(part, num_layers)
        group = groups.setdefault(
            part if decays else f"{part} (no decay)",
            {
                "params": [],
                "lr": lr * scale,
                "lr_scale": scale,
                "weight_decay": weight_decay if decays else 0.0,
            },
        )
        group["params"].append(parameter)
    return [{"name": name, **group} for name, group in groups.items()]


def freeze_report(model: nn.Module, train: Train) -> dict[str, Any]:
    """What trains and what is frozen under `train`: the numbers of parameters, and every part.

    Returns:
        `{train, trainable, frozen, parts: {part: "trains" | "frozen"}}`, for cards.
    """
    parts = set(parts_trained(model, train))
    counts = {True: 0, False: 0}
    present = set()
    for name, parameter in model.named_parameters():
        part = parameter_part(name)
        present.add(part)
        counts[part in parts] += parameter.numel()
    # A base is exported without a head, which each run gives it.
    names = part_names(num_layers_of(model), own_parts(model))
    to_come = {"head"} if not isinstance(model, Network) else set()
    shown = [part for part in names if part in present | to_come]
    return {
        "train": train_label(train),
        "trainable": counts[True],
        "frozen": counts[False],
        "parts": {part: "trains" if part in parts else "frozen" for part in shown},
    }


def freeze_lines(report: dict[str, Any]) -> list[str]:
    """A freeze report as plain lines, neighbouring blocks of one state drawn together."""
    runs: list[list[str]] = []  # [state, first part, last part]
    for part, state in report["parts"].items():
        joins = runs and runs[-1][0] == state and _is_block(part) and _is_block(runs[-1][2])
        if joins:
            runs[-1][2] = part
        else:
            runs.append([state, part, part])
    lines = [
        f"train {report['train']}: {report['trainable']:,} parameters train, "
        f"{report['frozen']:,} are frozen"
    ]
    for state, first, last in runs:
        name = first if first == last else f"blocks {first.split()[1]} to {last.split()[1]}"
        lines.append(f"  {name.replace('_', ' ')}: {state}")
    return lines


def freeze_check(model: nn.Module, schedules: Schedules) -> dict[str, list[dict[str, Any]]]:
    """What every phase of every experiment's schedule trains and freezes.

    Args:
        model: the base; without a head, as it is exported, heads are not counted.
        schedules: for each experiment its phases (`train`, `epochs`).

    Returns:
        For each experiment a `freeze_report` a phase, with its `epochs`.

    Raises:
        ConfigError: a phase does not fit the base; names the phase.
    """
    frozen: dict[str, list[dict[str, Any]]] = {}
    for experiment, phases in schedules.items():
        frozen[experiment] = []
        for index, phase in enumerate(phases):
            try:
                report = freeze_report(model, phase["train"])
            except ConfigError as error:
                key = f"experiments.{experiment}.schedule[{index}].train"
                raise ConfigError(f"{key}: {error}") from None
            frozen[experiment].append({"epochs": phase["epochs"], **report})
    backbone = backbone_of(model)
    if frozen and backbone.num_classes == 0:
        log.info("counted without the head: %d parameters a class", backbone.hidden_dim + 1)
    return frozen


def all_freeze_reports(model: nn.Module) -> dict[str, dict[str, Any]]:
    """The freeze report of everything that a phase can train, by label: for the base's card."""
    blocks: list[Train] = [{"blocks": k} for k in range(1, num_layers_of(model) + 1)]
    return {train_label(train): freeze_report(model, train) for train in ["head", *blocks, "all"]}


def _is_block(part: str) -> bool:
    return part.startswith("block ")


def _distance_to_head(part: str, num_layers: int) -> int:
    """Steps of `layer_decay` between a part and the head; a model's own parts are heads."""
    if _is_block(part):
        return num_layers + 1 - int(part.split()[1])
    return num_layers + 1 if part in ("patch_embedding", "positions") else 0


def freeze_tables(checked: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """What `freeze_check` found as plain lines: each table once, with all the phases that it is of."""
    phases: dict[str, list[str]] = {}
    for experiment, reports in checked.items():
        for number, report in enumerate(reports, start=1):
            table = "\n".join(freeze_lines(dict(report)))
            phases.setdefault(table, []).append(f"{experiment} {number}")
    return [
        line
        for table, named in phases.items()
        for line in (*table.split("\n"), f"  in experiment and phase: {', '.join(named)}")
    ]
