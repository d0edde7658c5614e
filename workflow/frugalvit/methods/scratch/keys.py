"""Keys of training from scratch: a network of its own for each experiment."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from frugalvit.errors import ConfigError
from frugalvit.methods.method import Entry, Look, Method
from frugalvit.methods.scratch.figures import FIGURES
from frugalvit.models.networks.network_shape import KEYS, check_network

if TYPE_CHECKING:
    from frugalvit.config.experiments import Experiment

LOSSES = {"cross_entropy": "cross-entropy loss (nats)", "mse": "mean squared error"}


def network_shape(network: dict[str, Any], image_size: int, num_classes: int) -> dict[str, Any]:
    """A network as `models.networks` describes it, without the keys of other kinds.

    Args:
        network: the experiment's.
        image_size: px.
        num_classes: outputs.
    """
    common = {key: network[key] for key in ("kind", "channels", "embedding")}
    own = {key: network.get(key) for key in KEYS[network["kind"]]}
    return {**common, **own, "image_size": image_size, "num_classes": num_classes}


def check(entry: Entry) -> dict[str, Any]:
    """Check the network, and that nothing of a base is asked for."""
    at, raw = entry.at, entry.raw
    if "from" in raw or "baseline" in raw:
        key = "from" if "from" in raw else "baseline"
        raise ConfigError(f"{at}.{key}: a network from scratch starts from nothing; remove it")
    network = raw.get("network")
    if network is None:
        raise ConfigError(f"{at}.network: missing; add at least its kind")
    for key in network:
        owners = [kind for kind, keys in KEYS.items() if key in keys]
        default = key in ("pooling", "small_stem", "widths") or network[key] is None
        if owners and network["kind"] not in owners and not default:
            raise ConfigError(
                f"{at}.network.{key}: {network['kind']} has no such part; it is for {owners[0]}"
            )
    try:
        check_network(network_shape(network, entry.config["base"]["image_size"], 2))
    except ConfigError as error:
        raise ConfigError(f"{at}.network.{error}") from None
    if network["kind"] != "vit":
        for key in ("dropout", "stochastic_depth"):
            if raw.get(key, entry.config["training"][key]):
                raise ConfigError(f"{at}.{key}: {network['kind']} has none; set it to 0")
    for setting in (raw.get("grid") or {}).get("parameters", {}):
        if setting.partition(".")[0] == "network":
            raise ConfigError(
                f"{at}.grid.parameters.{setting}: a search keeps one network's cost; "
                "write it under matrix, which makes an experiment of each"
            )
    seen, stored = entry.config["base"]["image_size"], entry.config["dataset"]["crop"]
    side = seen // network["patch_size"] if network["kind"] == "vit" else 0
    return {"loss": raw["loss"], "patches": {"side": side, "seen": seen / stored}}


def figure_options(experiment: "Experiment", among: Mapping[str, "Experiment"]) -> dict[str, Any]:
    """What its curves and its patches show."""
    how = experiment.evaluation
    return {"loss": LOSSES[how["loss"]], "patches": how["patches"]}


def training(raw: dict[str, Any]) -> dict[str, Any]:
    """What its runs are trained with."""
    return {"network": raw["network"], "loss": raw["loss"]}


def check_schedule(at: str, schedule: list[dict]) -> None:
    """Nothing is frozen in a network that knows nothing yet."""
    for index, phase in enumerate(schedule):
        if phase["train"] != "all":
            raise ConfigError(
                f"{at}.schedule[{index}].train: a network from scratch trains whole; write all"
            )


METHOD = Method(
    title="From scratch",
    summary="a network of its own, from nothing",
    look=Look("from scratch", "scratch", "s", "#7A5C00"),
    check=check,
    training=training,
    check_schedule=check_schedule,
    based=False,
    soft_labels=True,
    head_phases=(),
    answers_from_features=False,
    shape=("network",),
    tables={"examples": "examples.csv"},
    figures=FIGURES,
    figure_options=figure_options,
)
