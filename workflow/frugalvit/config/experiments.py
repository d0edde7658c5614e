"""From a study's named experiments to runs: schedules resolved, grids spread out, settings merged."""

import copy
from dataclasses import dataclass, field

from frugalvit.config.foreign_keys import check_own_keys, check_words
from frugalvit.config.grids import apply_point, check_distinct, grid_points
from frugalvit.config.networks import begins_with
from frugalvit.config.related import (
    check_related,
    check_whole,
    depth,
    known_architecture,
    known_layers,
)
from frugalvit.config.schema import load_schema, merge
from frugalvit.data.view_sets import PLAIN, view_set_name
from frugalvit.errors import ConfigError
from frugalvit.methods import registry
from frugalvit.methods.method import PLAIN as PLAIN_METHOD
from frugalvit.methods.method import Entry, Method
from frugalvit.words import MIXES, heads_alone

FROM_NOTHING = {"lr": 0.001, "layer_decay": 1.0}  # nothing to forget: one rate for all blocks
NONE, TIMM = (
    "none",
    "timm",
)  # sources: of a base that there is not, of models that stand as they are
SHAPE = ("method", "dropout", "stochastic_depth")  # settings that decide any model's shape


@dataclass(frozen=True)
class Run:
    """One experiment, one point of its grid, one seed."""

    id: str
    experiment: str
    seed: int
    settings: dict  # what `train_run` needs; in a searched experiment, of the first point
    point: int | None = None  # grid point of a search run
    candidates: tuple[
        dict, ...
    ] = ()  # settings at every grid point: a final run takes the winner's
    source: str | None = None  # run that it starts from; the base where None
    base_backbone: bool = True  # whether it starts with the base's backbone, be it another run's
    teacher: str | None = None  # run whose answers it learns from besides the labels

    @property
    def feature_sets(self) -> list[str]:
        """Names of the cached view sets that the run may read."""
        if not self.base_backbone:
            return []
        possible = self.candidates or (self.settings,)
        return sorted({name for settings in possible for name in feature_sets(settings)})

    @property
    def head_only(self) -> bool:
        """Whether the backbone stays the base's, so that cached features serve evaluation too."""
        possible = self.candidates or (self.settings,)
        if not registry.method(self.settings["method"]).answers_from_features:
            return False
        return self.base_backbone and all(
            settings["cache_features"]
            and all(heads_alone(phase["train"]) for phase in settings["schedule"])
            for settings in possible
        )


@dataclass(frozen=True)
class Experiment:
    """One named entry of a study."""

    name: str
    method: str
    splits: str  # folder of its splits: "splits" or "splits-{variant}"
    schedule: list[dict]  # resolved; of the first grid point where there is a grid
    seeds: list[int]
    final_runs: list[str]
    search_runs: list[str]
    points: list[dict]  # grid points: setting -> value
    source: str | None = None  # experiment that it starts from
    base: str = (
        "base"  # folder of the base, at its size, that it starts from, be it through another
    )
    keep_blocks: int | None = None  # of the base, be it through its source; all where None
    baseline: str | None = None  # experiment that it is compared with; `source` where not named
    # How the trained model is evaluated, in its method's words; no part of training.
    evaluation: dict = field(default_factory=dict)

    @property
    def runs(self) -> list[str]:
        """Search runs and final runs."""
        return [*self.search_runs, *self.final_runs]


def expand(
    name: str,
    raw: dict,
    config: dict,
    sources: dict[str, tuple[Experiment, dict[str, Run]]],
    base: str,
) -> tuple[Experiment, dict[str, Run]]:
    """One experiment of a validated config, and its runs by id.

    Args:
        name: of the experiment.
        raw: its entry in the config.
        config: the whole study, its `base` the one, at its size, that this experiment starts from.
        sources: experiments expanded before it, which it may start from.
        base: folder of the base.

    Raises:
        ConfigError: epochs that do not add up, blocks beyond the depth, a grid that sets no key.
    """
    at = f"experiments.{name}"
    method = registry.method(raw["method"])
    seeds = raw.get("seeds", config["seeds"])
    variant = raw.get("splits")
    if variant and variant not in config["split_variants"]:
        known = ", ".join(config["split_variants"]) or "none"
        raise ConfigError(f"{at}.splits: no split variant '{variant}'; split_variants has {known}")
    source = sources[raw["from"]] if "from" in raw else None
    start = source[0] if source else None
    baseline = sources[raw["baseline"]][0] if "baseline" in raw else start
    if baseline and baseline.base != base:
        raise ConfigError(
            f"{at}.baseline: '{baseline.name}' has another base or image_size; name one of the same"
        )
    raw = raw | {"seeds": seeds}
    evaluation = _check(at, raw, config, start, baseline)
    layers = depth(raw, config, start)
    grid = raw.get("grid") or {}
    points = grid_points(at, grid) if grid else []
    chosen = [apply_point(at, raw, point) for point in points]
    for variation in chosen:
        _check(at, variation, config, start, baseline)
    tried = [_settings(at, variation, config, layers, seeds[0]) for variation in chosen]
    check_distinct(at, points, tried)
    runs: dict[str, Run] = {}
    for index, settings in enumerate(tried):
        for seed in grid["seeds"] or seeds[:1]:
            identity = f"{name}-g{index:02d}-s{seed}"
            runs[identity] = Run(identity, name, seed, settings | {"seed": seed}, index)
    search_runs = list(runs)
    final_runs = []
    plain = tried[0] if tried else _settings(at, raw, config, layers, seeds[0])
    for seed in seeds:
        candidates = tuple(settings | {"seed": seed} for settings in tried)
        settings = plain | {"seed": seed}
        identity = f"{name}-s{seed}"
        before = source[1][f"{raw['from']}-s{seed}"] if source else None
        runs[identity] = Run(
            identity,
            name,
            seed,
            settings,
            candidates=candidates,
            source=before.id if before else None,
            base_backbone=before is None or before.head_only,
            teacher=f"{baseline.name}-s{seed}" if baseline and method.distils(raw) else None,
        )
        final_runs.append(identity)
    experiment = Experiment(
        name=name,
        method=raw["method"],
        splits=f"splits-{variant}" if variant else "splits",
        schedule=runs[final_runs[0]].settings["schedule"],
        seeds=seeds,
        final_runs=final_runs,
        search_runs=search_runs,
        points=points,
        source=raw.get("from"),
        base=base,
        keep_blocks=raw.get("keep_blocks") or (start.keep_blocks if start else None),
        baseline=baseline.name if baseline else None,
        evaluation=evaluation,
    )
    return experiment, runs


def _check(
    at: str, raw: dict, config: dict, source: Experiment | None, baseline: Experiment | None
) -> dict:
    """Check an entry against its method, its source and its baseline; how its runs are evaluated."""
    method = registry.method(raw["method"])
    check_own_keys(at, raw)
    if method.based(raw) and config["base"]["source"] == TIMM:
        check_whole(at, raw, config, PLAIN_METHOD)
    for key, other in (("from", source), ("baseline", baseline)):
        if other:
            check_related(f"{at}.{key}", at, raw, other, PLAIN_METHOD)
    if source and "grid" in raw:
        raise ConfigError(f"{at}.grid: a search starts from the base; remove grid or from")
    if method.trains:
        if "schedule" not in raw:
            raise ConfigError(
                f"{at}.schedule: missing; {raw['method']} trains, and needs its phases"
            )
        check_words(at, raw["schedule"], method.head_phases)
    layers, of_base = depth(raw, config, source), known_layers(config["base"])
    architecture = known_architecture(config["base"])
    if architecture and layers:
        architecture = architecture | {"num_layers": layers}
    return method.check(Entry(at, raw, config, source, baseline, layers, of_base, architecture))


def run_settings(method: str, seed: int, training: dict, schedule: list[dict]) -> dict:
    """A run's settings: each phase carries every key that may differ between phases."""
    of_a_phase = load_schema()["$defs"]["phase_overrides"]["properties"]
    defaults = {key: value for key, value in training.items() if key in of_a_phase}
    return {
        "method": method,
        "seed": seed,
        **{key: value for key, value in training.items() if key not in of_a_phase},
        "schedule": [merge(defaults, phase) for phase in schedule],
    }


def preprocessing(base: dict) -> dict:
    """What a base's card says of its images, where the configuration says it all."""
    return {key: base[key] for key in ("image_size", "mean", "std", "stored") if key in base}


def shape_of(settings: dict, method: Method) -> dict:
    """Of a run's settings, those that decide its model's shape."""
    keys = (*SHAPE, *method.shape, *([] if method.based(settings) else ["preprocessing"]))
    return {key: settings[key] for key in keys if key in settings}


def feature_sets(settings: dict) -> list[str]:
    """Names of the cached view sets that a run with these settings reads."""
    schedule = settings["schedule"]
    cached = schedule and heads_alone(schedule[0]["train"]) and settings["cache_features"]
    if not cached or not registry.method(settings["method"]).pooled_heads(settings):
        return []
    return sorted({PLAIN, view_set_name(settings)})


def _settings(at: str, raw: dict, config: dict, layers: int | None, seed: int) -> dict:
    keys = load_schema()["$defs"]["training_overrides"]["properties"]
    training = merge(config["training"], {key: raw[key] for key in keys if key in raw})
    schedule = _resolve_epochs(at, raw)
    _check_depth(at, schedule, layers, config["base"]["model"])
    method = registry.method(raw["method"])
    settings = run_settings(raw["method"], seed, training, schedule)
    based = method.based(raw)
    if not based and not begins_with(raw):
        for phase in settings["schedule"]:
            phase |= {key: rate for key, rate in FROM_NOTHING.items() if phase[key] is None}
    method.check_schedule(at, settings["schedule"])
    _check_augment(at, settings, method)
    own = method.training(raw)
    if not based and config["base"]["source"] == NONE:
        own |= {"preprocessing": preprocessing(config["base"])}
    if "keep_blocks" in raw and "keep_blocks" not in own:
        raise ConfigError(f"{at}.keep_blocks: {raw['method']} keeps all blocks; remove it")
    return settings | own


def _check_augment(at: str, settings: dict, method: Method) -> None:
    """Head phases on the base's features share one set of cached views; one policy a phase."""
    for index, phase in enumerate(settings["schedule"]):
        if phase["augment"].get("trivial_augment") and phase["augment"].get("auto_augment"):
            raise ConfigError(
                f"{at}.schedule[{index}].augment: trivial_augment and auto_augment are both on, one "
                "perhaps from training.augment; set one of them to false"
            )
        if phase.get("augment_on") == "device":
            refused = "auto_augment" if phase["augment"].get("auto_augment") else ""
            if refused or method.boxed:
                what = refused or f"what {settings['method']} does to boxes"
                raise ConfigError(
                    f"{at}.schedule[{index}].augment_on: the device does not compute {what}; "
                    "write loader"
                )
        for key in MIXES:
            if phase["augment"].get(key) and not method.soft_labels:
                raise ConfigError(
                    f"{at}.schedule[{index}].augment.{key}: {settings['method']} learns one class an "
                    "image; set it to 0"
                )
            if not method.soft_labels:
                phase["augment"].pop(key, None)  # a 0, of which views would know nothing
    for index, phase in enumerate(settings["schedule"]):
        if not heads_alone(phase["train"]):
            return
        if settings["views"] and phase["augment"] != settings["schedule"][0]["augment"]:
            raise ConfigError(
                f"{at}.schedule[{index}].augment: differs from schedule[0]'s, but both phases train "
                "on the same cached views; give them one augment"
            )


def _resolve_epochs(at: str, raw: dict) -> list[dict]:
    if not registry.method(raw["method"]).trains:
        return []
    schedule = copy.deepcopy(raw["schedule"])
    rest = [index for index, phase in enumerate(schedule) if phase["epochs"] == "rest"]
    if not rest:
        if "epochs" in raw:
            raise ConfigError(
                f"{at}.epochs: no phase says 'epochs: rest'; remove this key, or let a phase say rest"
            )
        return schedule
    where = f"{at}.schedule[{rest[0]}].epochs"
    if "epochs" not in raw:
        raise ConfigError(f"{where}: 'rest' of what? add {at}.epochs, the epochs of all phases")
    if len(rest) > 1:
        raise ConfigError(f"{at}.schedule[{rest[1]}].epochs: only one phase can take the rest")
    left = raw["epochs"] - sum(phase["epochs"] for phase in schedule if phase["epochs"] != "rest")
    if left < 0:
        raise ConfigError(
            f"{at}.epochs: {raw['epochs']} is less than the phases' own epochs; raise it"
        )
    schedule[rest[0]]["epochs"] = left
    return [phase for phase in schedule if phase["epochs"]]


def _check_depth(at: str, schedule: list[dict], layers: int | None, model: str | None) -> None:
    for index, phase in enumerate(schedule):
        train = phase["train"]
        if layers and isinstance(train, dict) and train["blocks"] > layers:
            raise ConfigError(
                f"{at}.schedule[{index}].train: 'blocks: {train['blocks']}' but "
                f"{model or 'the base'} has {layers} blocks; use at most {layers}, or 'all'"
            )
