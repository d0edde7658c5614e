"""The model of a run: as its settings say before it trains, and from its folder afterwards."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import nn

from frugalvit.checksums import check_noted
from frugalvit.errors import WeightsError
from frugalvit.files import read_json
from frugalvit.methods import registry
from frugalvit.models.any_model import architecture_of_model, build_model
from frugalvit.models.backbone import backbone_of
from frugalvit.models.base import build_from_base, preprocessing_of
from frugalvit.models.networks.network import Network
from frugalvit.models.stochastic_depth import add_stochastic_depth
from frugalvit.models.weights.tensors import load_into
from frugalvit.training.objective import Objectives


def start_run(
    settings: dict,
    base: Path | None,
    source: Path | None,
    num_classes: int,
    network: Path | None = None,
) -> nn.Module:
    """The model that a run begins with; fresh heads draw from torch's global generator.

    Args:
        settings: the run's: `method`, `dropout`, `stochastic_depth`, and where they are set
            `keep_blocks` and those of the method (`Method.shape`).
        base: the base's folder; None in a study without one.
        source: folder of the run whose model is taken in place of the base.
        num_classes: of a fresh head.
        network: weights of a network of its own, in place of random ones.

    Raises:
        ConfigError: more blocks kept than there are, or what the method cannot adapt. The message
            lacks the key, which the caller knows.
        WeightsError: the network's weights are unreadable, or not its own.
    """
    dropout = settings["dropout"]
    model_part = registry.part(settings["method"], "model")
    if not registry.method(settings["method"]).based(settings):
        image_size = preprocessing_of(base, settings)["image_size"]
        own: Network = model_part.begin(settings, image_size, num_classes)
        if network:
            own.begin_with(network)
        return own
    if source:
        backbone = backbone_of(load_run(source, dropout)[0])
    else:
        backbone = build_from_base(
            cast(Path, base), num_classes, dropout=dropout, num_layers=settings.get("keep_blocks")
        )
    if settings["stochastic_depth"]:
        add_stochastic_depth(backbone, settings["stochastic_depth"])
    return model_part.adapt(backbone, settings)


def load_run(folder: Path, dropout: float = 0.0) -> tuple[nn.Module, dict]:
    """A trained run's model, and its card.

    Raises:
        DataError: there is no card, or a broken one.
        WeightsError: the weights are not those that were written, or not the model's.
    """
    check_noted(folder / "card.json")
    card = read_json(folder / "card.json")
    architecture, backbone = card["architecture"], None
    if registry.method(card["method"]).based(card["settings"]):
        backbone = build_model(architecture, architecture["num_classes"], dropout=dropout)
    model = registry.part(card["method"], "model").restore(backbone, card)
    weights = folder / "weights.safetensors"
    check_noted(weights, WeightsError)
    load_into(model, weights)
    return model, card


@dataclass(frozen=True)
class MethodRecipe:
    """How a method's runs are trained, for `training.runs` (a `training.objective.Recipe`)."""

    method: str

    @property
    def boxed(self) -> bool:
        """Whether its runs learn boxes."""
        return registry.method(self.method).boxed

    def start(
        self,
        settings: dict,
        base: Path | None,
        source: Path | None,
        num_classes: int,
        network: Path | None = None,
    ) -> nn.Module:
        """See `start_run`; of a run that makes the base, whose settings name no method, too."""
        return start_run(settings | {"method": self.method}, base, source, num_classes, network)

    def load(self, folder: Path) -> nn.Module:
        """A trained run's model."""
        return load_run(folder)[0]

    def objectives(self, model: nn.Module, settings: dict, teacher: nn.Module | None) -> Objectives:
        """What each epoch of a run minimises."""
        return registry.part(self.method, "objective").Objectives(model, settings, teacher)

    def describe(self, model: nn.Module) -> dict[str, Any]:
        """What a card says of a model, for `load_run`."""
        own = registry.part(self.method, "model").describe(model)
        if isinstance(model, Network):
            return own
        return {"architecture": architecture_of_model(backbone_of(model)), **own}
