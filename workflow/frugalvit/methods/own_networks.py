"""Experiments whose network is made from keys of their own, `network`, in place of a base; no torch."""

from typing import Any

from frugalvit.errors import ConfigError
from frugalvit.methods.method import Entry
from frugalvit.models.networks.network_shape import KEYS, check_network, network_shape


def check_own_network(entry: Entry, network: dict[str, Any] | None) -> None:
    """Check a network, and that nothing of a base is asked for.

    Args:
        entry: of the experiment.
        network: its keys.

    Raises:
        ConfigError: it is missing or cannot be built, has parts of another kind, or is to start from
            another experiment or to be searched for.
    """
    at, raw = entry.at, entry.raw
    if "from" in raw or "baseline" in raw:
        key = "from" if "from" in raw else "baseline"
        raise ConfigError(f"{at}.{key}: a network of its own starts from no other; remove it")
    if network is None:
        raise ConfigError(f"{at}.network: missing; add at least its kind")
    kind = network["kind"]
    for key in network:
        owners = [other for other, keys in KEYS.items() if key in keys]
        default = key in ("pooling", "small_stem", "widths") or network[key] is None
        if owners and kind not in owners and not default:
            raise ConfigError(f"{at}.network.{key}: {kind} has no such part; it is for {owners[0]}")
    try:
        check_network(network_shape(network, entry.config["base"]["image_size"], 2))
    except ConfigError as error:
        raise ConfigError(f"{at}.network.{error}") from None
    if kind != "vit":
        for key in ("dropout", "stochastic_depth"):
            if raw.get(key, entry.config["training"][key]):
                raise ConfigError(f"{at}.{key}: {kind} has none; set it to 0")
    for setting in (raw.get("grid") or {}).get("parameters", {}):
        if setting.partition(".")[0] == "network":
            raise ConfigError(
                f"{at}.grid.parameters.{setting}: a search keeps one network's cost; "
                "write it under matrix, which makes an experiment of each"
            )


def check_whole(at: str, schedule: list[dict]) -> None:
    """Refuse phases that freeze a part of a network that no base has.

    Raises:
        ConfigError: a phase trains anything but `all`.
    """
    for index, phase in enumerate(schedule):
        if phase["train"] != "all":
            raise ConfigError(
                f"{at}.schedule[{index}].train: a network of its own trains whole; write all"
            )
