"""Keys of A-ViT: when tokens halt, what halting is asked of them, whose answers they learn."""

from typing import Any

from frugalvit.errors import ConfigError
from frugalvit.methods.avit.figures import FIGURES
from frugalvit.methods.avit.reachable import check_halting, check_images, missed
from frugalvit.methods.method import PLAIN, Entry, Look, Method
from frugalvit.words import heads_alone

# (gamma, beta) of the halting score: of the paper (section 4, DeiT-tiny), of its authors' published
# models, and of the student project among our sources, which shares the paper's.
PRESETS = {"paper": (5.0, -10.0), "official": (10.0, -30.0), "student": (5.0, -10.0)}
# Of the keys of halting, those that training does not depend on.
INFERENCE = ("inference_eps",)
EVALUATION = (
    "eps",
    "inference_eps",
    "alpha_distribution",
    "expected_depth",
    "depth_std",
    "target_gflops",
)


def training(raw: dict[str, Any]) -> dict[str, Any]:
    """Halting, gamma and beta resolved, and distillation."""
    halting = {key: value for key, value in raw["halting"].items() if key not in INFERENCE}
    gamma, beta = PRESETS[halting.pop("preset")]
    halting["gamma"] = gamma if halting["gamma"] is None else halting["gamma"]
    halting["beta"] = beta if halting["beta"] is None else halting["beta"]
    return {"halting": halting, "distillation": dict(raw["distillation"])}


def distils(raw: dict[str, Any]) -> bool:
    """Whether an experiment learns from the answers of its baseline."""
    return raw["distillation"]["weight"] > 0


def check(entry: Entry) -> dict[str, Any]:
    """Check halting; returns how tokens are evaluated, and the `baseline`."""
    at, raw, layers = entry.at, entry.raw, entry.layers
    halting = raw["halting"]
    for key in ("grid", "keep_blocks"):
        if key in raw:
            raise ConfigError(f"{at}.{key}: is for method {PLAIN}; remove it")
    depth = halting["expected_depth"]
    if layers and depth and depth > layers:
        raise ConfigError(
            f"{at}.halting.expected_depth: {depth:g}, but the model has {layers} blocks; use less"
        )
    if entry.architecture:
        try:
            check_halting(halting, entry.architecture, 0)
        except ConfigError as error:
            raise ConfigError(f"{at}.{error}") from None
    if halting["eps"] in halting["inference_eps"]:
        raise ConfigError(
            f"{at}.halting.inference_eps: {halting['eps']:g} is eps itself; remove it"
        )
    if halting["target_gflops"] and not halting["alpha_ponder"]:
        raise ConfigError(
            f"{at}.halting.alpha_ponder: 0 cannot be tuned until target_gflops is met; write a value "
            "above 0"
        )
    if raw["distillation"]["weight"] and not entry.baseline:
        raise ConfigError(
            f"{at}.distillation: learns from the baseline's answers; add baseline or from"
        )
    baseline = entry.baseline.name if entry.baseline else None
    return {**{key: halting[key] for key in EVALUATION}, "baseline": baseline}


def check_schedule(at: str, schedule: list[dict]) -> None:
    """Check that the phases, their epochs resolved, let tokens learn to halt."""
    trained = [not heads_alone(phase["train"]) for phase in schedule]
    if not any(trained):
        raise ConfigError(
            f"{at}.schedule: only the head trains, and tokens learn to halt in the blocks; add a "
            "phase with train: all or {blocks: k}"
        )
    late = [index for index, free in enumerate(trained) if not free and any(trained[:index])]
    if late:
        raise ConfigError(
            f"{at}.schedule[{late[0]}].train: a head phase, in which no token halts, comes before "
            "the phases that train blocks; move it to the front"
        )


METHOD = Method(
    title="Adaptive tokens",
    summary="tokens halt",
    look=Look("A-ViT, packed", "A-ViT", "s", "#D55E00"),
    check=check,
    check_images=check_images,
    missed=missed,
    training=training,
    check_schedule=check_schedule,
    distils=distils,
    answers_from_features=False,  # its class token halts before the last block, whose output is cached
    shape=("halting",),
    adaptive=True,
    tables={
        "untimed": "untimed_points.csv",
        "halting": "halting.csv",
        "depth_images": "depth_images.csv",
    },
    options=("depth_images",),
    figures=FIGURES,
    masked=("masked",),
    values={"packed": "eps", "masked": "eps"},
)
