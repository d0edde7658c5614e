"""Keys of early exits: which there are, how they learn, and how their thresholds are made."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from frugalvit.errors import ConfigError
from frugalvit.methods.early_exit.enough import check_images
from frugalvit.methods.early_exit.figures import FIGURES
from frugalvit.methods.method import PLAIN, Entry, Look, Method

if TYPE_CHECKING:
    import pandas as pd

    from frugalvit.config.experiments import Experiment

# What training depends on; a new target must not train anew.
TRAINING = ("exits", "exit_head", "depth_power", "distillation")
TARGETS = ("budget", "drop", "risk")
EVALUATION = ("criterion", "calibration", "targets", "choose", "curve")


def training(raw: dict[str, Any]) -> dict[str, Any]:
    """Exits, their heads, their losses."""
    return {key: raw[key] for key in TRAINING}


def check(entry: Entry) -> dict[str, Any]:
    """Check exits, phases and targets; returns how thresholds are made."""
    at, raw = entry.at, entry.raw
    if "grid" in raw:
        raise ConfigError(f"{at}.grid: a search is for method {PLAIN}; remove it")
    if "keep_blocks" in raw:
        raise ConfigError(
            f"{at}.keep_blocks: is for method {PLAIN}; start from an experiment that has it"
        )
    first = raw["schedule"][0]["train"]
    if first == "exits" and not entry.source:
        raise ConfigError(
            f"{at}.schedule[0].train: 'exits' leaves the model's own head as it is, which the base "
            "has not trained; write heads, or start from an experiment (from)"
        )
    _check_exits(at, raw, entry.layers)
    _check_targets(at, raw)
    variant = raw.get("splits")
    changes = entry.config["split_variants"][variant] if variant else {}
    if not changes.get("calibration", entry.config["splits"]["calibration"]):
        where = f"split_variants.{variant}" if variant else "splits"
        raise ConfigError(
            f"{where}.calibration: missing; {at} makes its thresholds on calibration images; add "
            "calibration: {from: valid, fraction: 0.5}"
        )
    return {key: raw[key] for key in EVALUATION}


def _check_exits(at: str, raw: dict[str, Any], layers: int | None) -> None:
    exits = raw["exits"]
    if exits != "all":
        for index, block in enumerate(exits):
            if layers and block > layers:
                raise ConfigError(
                    f"{at}.exits[{index}]: {block}, but the base has {layers} blocks; use 1 to {layers}"
                )
        if set(exits) == {layers}:
            raise ConfigError(f"{at}.exits: no exit before the last block; name an earlier one")
    count = layers if exits == "all" else len({*exits, layers or 0})
    if raw["criterion"] == "patience" and count and count < 3:
        raise ConfigError(
            f"{at}.criterion: patience asks exits in a row to agree, and {count} exits leave it "
            "nothing to decide; use confidence"
        )


def _check_targets(at: str, raw: dict[str, Any]) -> None:
    targets, choose = raw["targets"], raw["choose"]
    if not targets[choose]:
        raise ConfigError(f"{at}.choose: '{choose}', but targets.{choose} is empty; add a target")
    epsilons = [target["epsilon"] for target in targets["risk"]]
    for index, epsilon in enumerate(epsilons):
        if epsilon in epsilons[:index]:
            raise ConfigError(
                f"{at}.targets.risk[{index}].epsilon: {epsilon:g} stands twice; keep one delta for it"
            )


def pooled_heads(settings: dict[str, Any]) -> bool:
    """Whether no head reads the patch grid, which the cache lacks."""
    return "conv" not in settings["exit_head"].values()


def missed(how: dict[str, Any], points: "pd.DataFrame") -> list[str]:
    """Targets for which the full model had to be taken; see `Method.missed`."""
    from frugalvit.operating_point import NEVER, points_of  # pandas, not needed to configure

    asked = points[points["setting"].isin(TARGETS) & (points["split"] == "test")]
    return [
        f"target {point.name} not reached: {point.note}"
        for point in points_of(asked)
        if point.threshold == NEVER
    ]


def figure_options(
    experiment: "Experiment", experiments: Mapping[str, "Experiment"]
) -> dict[str, Any]:
    """The targets, and shallower models on the same splits, which early exits are compared with."""
    rivals = {
        name: other.keep_blocks
        for name, other in experiments.items()
        if other.keep_blocks
        and other.method == PLAIN
        and (other.splits, other.base) == (experiment.splits, experiment.base)
    }
    return {"targets": experiment.evaluation["targets"], "rivals": rivals}


METHOD = Method(
    title="Early exits",
    summary="heads after blocks, at which easy images exit",
    look=Look("early exits", "early exits", "o", "#0072B2"),
    check=check,
    check_images=check_images,
    missed=missed,
    training=training,
    head_phases=("heads", "exits"),
    pooled_heads=pooled_heads,
    shape=("exits", "exit_head"),
    adaptive=True,
    tables={
        "untimed": "untimed_points.csv",
        "exits": "exits.csv",
        "exit_images": "exit_images.csv",
        "calibration": "calibration.json",
    },
    measured=("calibration",),
    splits=("calibration", "valid", "test"),
    figures=FIGURES,
    options=("abstain",),
    figure_options=figure_options,
    targets=("full", *TARGETS),
)
