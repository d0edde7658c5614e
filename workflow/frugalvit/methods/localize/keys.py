"""Keys of localization: two heads, their loss, and the augmentation that boxes can follow."""

from typing import Any

from frugalvit.errors import ConfigError
from frugalvit.methods.localize.figures import FIGURES
from frugalvit.methods.localize.marks import MEASURES
from frugalvit.methods.method import Entry, Look, Method, kept_blocks
from frugalvit.methods.own_networks import check_own_network, check_whole

BLIND = ("trivial_augment", "auto_augment")  # move objects and do not tell where to


def training(raw: dict[str, Any]) -> dict[str, Any]:
    """Heads and loss, and the network: its own, or how much of the base, where not all."""
    network = {"network": raw["network"]} if raw["network"] else kept_blocks(raw)
    return {"localize": raw["localize"], **network}


def based(settings: dict[str, Any]) -> bool:
    """Whether the heads stand on the base, not on a network of their own."""
    return not settings.get("network")


def check(entry: Entry) -> dict[str, Any]:
    """Check what it keeps of the base, or the network in its place."""
    network, at = entry.raw["network"], f"{entry.at}.network"
    if network is None:
        entry.check_kept()
        return {}
    check_own_network(entry, network)
    check_whole(entry.at, entry.raw["schedule"])
    if network["weights"] and network["small_stem"]:
        raise ConfigError(
            f"{at}.small_stem: published weights have a first convolution of 7 x 7; set it to false, or "
            "weights to null"
        )
    if entry.raw["localize"]["tokens"] == "class_mean":
        raise ConfigError(
            f"{entry.at}.localize.tokens: {network['kind']} has no class token beside its mean; write "
            "class or grid"
        )
    return {}


def check_schedule(at: str, schedule: list[dict]) -> None:
    """Refuse augmentation that boxes cannot follow."""
    for number, phase in enumerate(schedule):
        for name in BLIND:
            if phase["augment"].get(name):
                raise ConfigError(
                    f"{at}.schedule[{number}].augment.{name}: moves objects without telling where to, "
                    "so boxes would be wrong; set it to false"
                )


def pooled_heads(settings: dict[str, Any]) -> bool:
    """Whether the heads read pooled tokens alone, of the base."""
    return based(settings) and settings["localize"]["tokens"] != "grid"


METHOD = Method(
    title="Localization",
    summary="answers the class and the box of one object an image",
    look=Look("localization", "boxes", "P", "#7A4FB5"),
    check=check,
    check_schedule=check_schedule,
    training=training,
    based=based,
    boxed=True,
    pooled_heads=pooled_heads,
    shape=("localize", "network"),
    tables={"pictures": "boxes.csv"},
    measures=MEASURES,
    figures=FIGURES,
)
