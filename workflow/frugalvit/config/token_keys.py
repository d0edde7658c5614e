"""Keys of experiments whose tokens leave, by halting, merging or pruning: checked, completed."""

import copy
from typing import Any

from frugalvit.config.schema import load_schema, validate
from frugalvit.errors import ConfigError

TRAINING_FREE = ("token_merging", "token_pruning")
# (gamma, beta) of the halting score: of the paper (section 4, DeiT-tiny), of its authors' published
# models, and of the student project among our sources, which shares the paper's.
PRESETS = {"paper": (5.0, -10.0), "official": (10.0, -30.0), "student": (5.0, -10.0)}
# Of the keys of halting, those that training does not depend on.
_INFERENCE = ("inference_eps",)


def of_training(raw: dict) -> dict[str, Any]:
    """What `method: avit` adds to the settings that a run is trained with; gamma and beta resolved."""
    halting, distillation = _complete(raw)
    gamma, beta = PRESETS[halting.pop("preset")]
    halting["gamma"] = gamma if halting["gamma"] is None else halting["gamma"]
    halting["beta"] = beta if halting["beta"] is None else halting["beta"]
    for key in _INFERENCE:
        del halting[key]
    return {"halting": halting, "distillation": distillation}


def distils(raw: dict) -> bool:
    """Whether an experiment learns from the answers of its baseline."""
    return raw["method"] == "avit" and _complete(raw)[1]["weight"] > 0


def check_halting(at: str, raw: dict, baseline: str | None, layers: int | None) -> dict[str, Any]:
    """Check the keys of `method: avit`.

    Args:
        at: key of the experiment.
        raw: its entry in the config.
        baseline: the experiment that it is compared with, if any.
        layers: blocks of the model, where the config tells.

    Returns:
        How its tokens are evaluated: `eps`, `inference_eps`, `alpha_distribution`,
        `expected_depth`, `depth_std`, `baseline`.

    Raises:
        ConfigError: one line that names the key and the remedy.
    """
    halting, distillation = _complete(raw)
    for key in ("grid", "keep_blocks"):
        if key in raw:
            raise ConfigError(f"{at}.{key}: is for method fine_tune; remove it")
    depth = halting["expected_depth"]
    if layers and depth and depth > layers:
        raise ConfigError(
            f"{at}.halting.expected_depth: {depth:g}, but the model has {layers} blocks; use less"
        )
    if halting["eps"] in halting["inference_eps"]:
        raise ConfigError(
            f"{at}.halting.inference_eps: {halting['eps']:g} is eps itself; remove it"
        )
    if halting["target_gflops"] and not halting["alpha_ponder"]:
        raise ConfigError(
            f"{at}.halting.alpha_ponder: 0 cannot be tuned until target_gflops is met; write a value "
            "above 0"
        )
    if distillation["weight"] and not baseline:
        raise ConfigError(
            f"{at}.distillation: learns from the baseline's answers; add baseline or from"
        )
    kept = ("eps", "inference_eps", "alpha_distribution", "expected_depth", "depth_std")
    return {**{key: halting[key] for key in kept}, "baseline": baseline}


def check_schedule(at: str, schedule: list[dict]) -> None:
    """Check that the phases of `method: avit`, their epochs resolved, let tokens learn to halt.

    Raises:
        ConfigError: one line that names the key and the remedy.
    """
    trained = [phase["train"] != "head" for phase in schedule]
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


def check_training_free(at: str, raw: dict, layers: int | None) -> dict[str, Any]:
    """Check the keys of `token_merging` or `token_pruning`; arguments and errors as above.

    Returns:
        How its tokens are evaluated: `r`, or `keep_tokens` and `prune_blocks`.
    """
    method = raw["method"]
    if not raw.get("from"):
        raise ConfigError(f"{at}.from: missing; {method} works on the runs of another experiment")
    known = load_schema()["$defs"]["experiment"]["properties"]
    allowed = {"method", "from", "seeds", "splits", "r", "keep_tokens", "prune_blocks"}
    for key in known:
        if key in raw and key not in allowed:
            raise ConfigError(f"{at}.{key}: {method} trains nothing; remove it")
    key = "r" if method == "token_merging" else "keep_tokens"
    if key not in raw:
        raise ConfigError(f"{at}.{key}: missing; {method} needs it, e.g. {_EXAMPLES[key]}")
    blocks = raw.get("prune_blocks")
    beyond = [block for block in blocks or () if layers and block > layers]
    if beyond:
        raise ConfigError(
            f"{at}.prune_blocks: {beyond[0]}, but the model has {layers} blocks; use 1 to {layers}"
        )
    return {"r": raw["r"]} if key == "r" else {"keep_tokens": raw[key], "prune_blocks": blocks}


_EXAMPLES = {"r": "[8]", "keep_tokens": "[0.7]"}


def _complete(raw: dict) -> tuple[dict, dict]:
    given = {key: copy.deepcopy(raw[key]) for key in ("halting", "distillation") if key in raw}
    keys = validate(given, "avit")
    return keys["halting"], keys["distillation"]
