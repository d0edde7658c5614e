"""Keys of training from scratch: a network of its own for each experiment."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from frugalvit.methods.method import Entry, Look, Method
from frugalvit.methods.own_networks import check_own_network, check_whole
from frugalvit.methods.scratch.figures import FIGURES

if TYPE_CHECKING:
    from frugalvit.config.experiments import Experiment

LOSSES = {"cross_entropy": "cross-entropy loss (nats)", "mse": "mean squared error"}


def check(entry: Entry) -> dict[str, Any]:
    """Check the network, and that nothing of a base is asked for."""
    raw = entry.raw
    check_own_network(entry, raw.get("network"))
    network: dict[str, Any] = raw["network"]
    base = entry.config["base"]
    seen, stored = base["image_size"], base.get("stored", entry.config["dataset"]["crop"])
    side = seen // network["patch_size"] if network["kind"] == "vit" else 0
    return {"loss": raw["loss"], "patches": {"side": side, "seen": seen / stored}}


def figure_options(experiment: "Experiment", among: Mapping[str, "Experiment"]) -> dict[str, Any]:
    """What its curves and its patches show."""
    how = experiment.evaluation
    return {"loss": LOSSES[how["loss"]], "patches": how["patches"]}


def training(raw: dict[str, Any]) -> dict[str, Any]:
    """What its runs are trained with."""
    return {"network": raw["network"], "loss": raw["loss"]}


def from_nothing(raw: dict[str, Any]) -> bool:
    """No run starts from a base."""
    return False


METHOD = Method(
    title="From scratch",
    summary="a network of its own, from nothing",
    look=Look("from scratch", "scratch", "s", "#7A5C00"),
    check=check,
    training=training,
    check_schedule=check_whole,
    based=from_nothing,
    soft_labels=True,
    head_phases=(),
    answers_from_features=False,
    shape=("network",),
    tables={"examples": "examples.csv"},
    figures=FIGURES,
    figure_options=figure_options,
)
