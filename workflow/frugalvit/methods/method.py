"""The contract of a method: what its room `methods/{name}/` answers.

The configuration and the rules read the half that needs no torch, `METHOD` in `keys.py`; jobs load
the other parts, each when it needs it, through `methods.registry.part`:

| file | answers | asked by |
|---|---|---|
| `schema.yaml` | the keys of this method's experiments: types, defaults, descriptions | `config` |
| `docs.md` | what a user should read before them | `config.docs` |
| `keys.py` | `METHOD`: checks, expansion, tables, figures (a `Method`) | `config`, rules |
| `model.py` | `adapt` or `begin`, `describe`, `restore` (a `ModelPart`) | training, evaluation |
| `objective.py` | `Objectives(model, settings, teacher)` (`training.objective`) | training |
| `check.py` | `check(model, settings, how)` (a `CheckPart`), if any | the early check of models |
| `tables.py` | `evaluate(run, how)` (a `TablesPart`) | evaluation |
| `points.py` | `timed(model, points, how, folder)` (a `PointsPart`), where adaptive | measuring |
| `answering.py` | `answering(model, card, point, folder)` (an `AnsweringPart`), if any | predicting |
| `exporting.py` | `graphs(model, card, point, folder)` (see `methods.graphs`), if any | exporting |
| `showing.py` | `figure(predictions, answered, images, about)` (a `ShowingPart`), if any | showing |
| `figures/`, `captions/` | one module and one caption a figure | plotting |

A part imports what it needs; no method imports another. Code in one part reruns only the jobs that
load that part, and only those of this method's runs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from frugalvit.errors import ConfigError
from frugalvit.figures.figure import Figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Drawn
    from torch import Tensor, nn
    from torchvision.models import VisionTransformer

    from frugalvit.config.experiments import Experiment
    from frugalvit.data.batches import ImageSet
    from frugalvit.data.division import Division
    from frugalvit.evaluation.tested import TestedRun
    from frugalvit.figures.about import About
    from frugalvit.models.networks.network import Network
    from frugalvit.operating_point import Point


PLAIN = "fine_tune"  # the method of the network itself, whole, also where it makes the base


@dataclass(frozen=True)
class Entry:
    """One experiment of a study, as its method's checks see it."""

    at: str  # its key: `experiments.{name}`
    raw: dict[str, Any]  # its entry, validated, its method's own keys complete
    config: dict[str, Any]  # the whole study
    source: "Experiment | None"  # the experiment that it starts from; the base where None
    baseline: "Experiment | None"  # the one that it is compared with
    layers: int | None  # blocks of its model, where the config tells
    base_layers: int | None  # blocks of the base, where the config tells
    architecture: dict[str, Any] | None  # of its model, where the config tells all of it

    def check_kept(self) -> None:
        """Check `keep_blocks` of a method that may cut the base.

        Raises:
            ConfigError: it cuts no base, or keeps more blocks than there are.
        """
        keep, key = self.raw.get("keep_blocks"), f"{self.at}.keep_blocks"
        if keep and self.source:
            raise ConfigError(f"{key}: cuts the base, not another experiment; remove from")
        if keep and self.base_layers and keep > self.base_layers:
            raise ConfigError(
                f"{key}: {keep}, but the base has {self.base_layers} blocks; use fewer"
            )


class Look(NamedTuple):
    """How figures that compare methods show one."""

    words: str  # 'early exits'
    label: str  # beside a mark
    marker: str  # matplotlib's
    color: str


def _nothing(entry: Entry) -> dict[str, Any]:
    return {}


def _no_settings(raw: dict[str, Any]) -> dict[str, Any]:
    return {}


def kept_blocks(raw: dict[str, Any]) -> dict[str, Any]:
    """Of an entry, how many blocks of the base it keeps, where not all: `Method.training`'s part."""
    return {"keep_blocks": raw["keep_blocks"]} if "keep_blocks" in raw else {}


def _any_schedule(at: str, schedule: list[dict]) -> None:
    return None


def _never(raw: dict[str, Any]) -> bool:
    return False


def _always(settings: dict[str, Any]) -> bool:
    return True


def _any_images(at: str, how: dict[str, Any], options: dict[str, Any], images: "Division") -> None:
    return None


def _none_missed(how: dict[str, Any], points: "pd.DataFrame") -> list[str]:
    return []


def _no_options(experiment: "Experiment", experiments: Mapping[str, "Experiment"]) -> dict:
    return {}


@dataclass(frozen=True)
class Method:
    """What a method answers before there is any tensor."""

    title: str  # of its figures in the report
    look: Look
    summary: str = ""  # what it does, in the description of the key `method`
    # --- configuration ---
    check: Callable[[Entry], dict[str, Any]] = _nothing
    """Check an entry's keys; returns how its runs are evaluated (`Experiment.evaluation`), of which
    training does not depend. Raises ConfigError, one line that names the key and the remedy."""
    check_images: "Callable[[str, dict[str, Any], dict[str, Any], Division], None]" = _any_images
    """Refuse what these images could never give, before anything costly. Given the experiment's key,
    its `evaluation`, the `options` below and the images as its splits divide them. Raises ConfigError,
    DataError: one line that names a setting which works with these images, if one does."""
    training: Callable[[dict[str, Any]], dict[str, Any]] = _no_settings
    """From an entry, what it adds to the settings that a run is trained with."""
    check_schedule: Callable[[str, list[dict]], None] = _any_schedule
    """Check phases whose epochs are resolved; raises ConfigError."""
    distils: Callable[[dict[str, Any]], bool] = _never
    """From an entry, whether its runs learn from the answers of its baseline's."""
    based: Callable[[dict[str, Any]], bool] = _always
    """From an entry or a run's settings, whether the run starts from the base or another run; else its
    network is its own, made by `begin`, and may begin with weights that `network.weights` names."""
    soft_labels: bool = False  # its loss takes shares of classes, which mixed images have
    boxed: bool = False  # its runs learn the box of each image besides its class
    trains: bool = True  # else its runs are another experiment's, used in another way
    head_phases: tuple[str, ...] = ("head",)  # words of a schedule that train heads only
    # --- what its runs may read ---
    pooled_heads: Callable[[dict[str, Any]], bool] = _always
    """From a run's settings, whether its heads read pooled tokens, which are cached."""
    answers_from_features: bool = True  # whether cached features serve a run of heads in evaluation
    shape: tuple[str, ...] = ()  # settings, besides the common ones, that decide its model's shape
    # --- results ---
    adaptive: bool = False  # has operating points: it is measured, point by point, beside the plain
    tables: Mapping[str, str] = field(default_factory=dict)
    """Name -> file in the run's folder, of what its evaluation writes besides predictions,
    thumbnails and metrics (`untimed` -> `untimed_points.csv` where adaptive)."""
    measures: tuple[str, ...] = ()  # of its metrics, those that are columns of summary.csv as well
    measured: tuple[str, ...] = ()  # of `tables`, what measuring reads besides `untimed`
    splits: tuple[str, ...] = ("valid", "test")  # that an evaluation answers
    options: tuple[str, ...] = ()
    """Keys of the study's `evaluation` that its evaluation reads, and `check_images`."""
    figures: Sequence[Figure] = ()
    figure_options: Callable[["Experiment", Mapping[str, "Experiment"]], dict[str, Any]] = (
        _no_options
    )
    """From an experiment and those shown, what its figures and captions ask of the configuration."""
    missed: "Callable[[dict[str, Any], pd.DataFrame], list[str]]" = _none_missed
    """From an experiment's `evaluation` and a run's rows of operating points, which targets the run
    missed, a phrase each."""
    targets: tuple[str, ...] = ()  # settings of points that are aimed at, not part of a curve
    masked: tuple[str, ...] = ()  # settings that compute what another point leaves out
    values: Mapping[str, str] = field(default_factory=dict)
    """Setting -> what its value is of, where the setting does not say it."""

    @property
    def evaluated(self) -> dict[str, str]:
        """Name -> file in the run's folder, of all that its evaluation writes."""
        return {
            **self.tables,
            "predictions": "predictions.csv",
            "thumbnails": "thumbnails.csv",
            "metrics": "metrics.json",
        }


class ModelPart(Protocol):
    """`model.py`: the model of a run, as its settings say before it trains and as its card does."""

    @staticmethod
    def adapt(backbone: "VisionTransformer", settings: dict[str, Any]) -> "nn.Module":
        """The model around a backbone; what is fresh draws from torch's global generator.

        Raises:
            ConfigError: the settings do not fit the backbone. The message lacks the experiment.
        """
        ...

    @staticmethod
    def begin(settings: dict[str, Any], image_size: int, num_classes: int) -> "Network":
        """In place of `adapt` where a run is not `based`: a network of its own, its weights random.

        Raises:
            ConfigError: there is no such network. The message lacks the experiment.
        """
        ...

    @staticmethod
    def describe(model: "nn.Module") -> dict[str, Any]:
        """What a card says of the model besides its backbone's architecture, for `restore`; where
        a run is not `based`, its `architecture` too.
        """
        ...

    @staticmethod
    def restore(backbone: "VisionTransformer", card: dict[str, Any]) -> "nn.Module":
        """The model of that card, its weights not loaded yet; no backbone where not `based`."""
        ...


class TablesPart(Protocol):
    """`tables.py`: what an evaluation writes."""

    @staticmethod
    def evaluate(run: "TestedRun", how: dict[str, Any]) -> dict[str, Any]:
        """Tables (DataFrames) and records (for JSON) by name: `predictions`, `thumbnails`,
        `metrics`, and those of `Method.tables`.
        """
        ...


class PointsPart(Protocol):
    """`points.py`: the models behind operating points."""

    @staticmethod
    def timed(
        model: "nn.Module", points: "Sequence[Point]", how: dict[str, Any], folder: Path
    ) -> "dict[str, nn.Module]":
        """A model for each `Point.model` but the plain one, `full`.

        Args:
            model: of the run, in evaluation mode.
            points: of the run.
            how: its experiment's `evaluation`.
            folder: of the run, with the tables that `Method.measured` names.
        """
        ...


class CheckPart(Protocol):
    """`check.py`: what can be refused as soon as there is a base, before anything trains."""

    @staticmethod
    def check(model: "nn.Module", settings: dict[str, Any], how: dict[str, Any]) -> None:
        """Refuse what this base could never give.

        Args:
            model: as a run begins with it, with a head for the study's classes.
            settings: that decide the model's shape.
            how: the experiment's `evaluation`.

        Raises:
            ConfigError: one line; its key lacks the experiment, which the caller adds.
        """
        ...


class Answered(NamedTuple):
    """What a model says of a batch of images."""

    scores: "Tensor"  # [images, classes]: logits or log-probabilities, as the evaluation has them
    columns: dict[str, list[float]]  # what else it tells of each image, by name
    boxes: "Tensor | None" = None  # [images, 4]: x0, y0, x1, y1 as shares of the view's side
    depths: "Tensor | None" = None  # [images, tokens]: blocks that computed each, where tokens halt


class Answering(NamedTuple):
    """A model that answers new images, and what its outputs mean."""

    module: "nn.Module"
    read: "Callable[[Any], Answered]"  # from its outputs for a batch, on the CPU
    columns: tuple[str, ...] = ()  # names in `Answered.columns`, known before the first image
    boxed: bool = False


class AnsweringPart(Protocol):
    """`answering.py`: the model that answers new images, where it gives more than logits.

    A part may also have `measures(answered, images)`, from the answers to a whole `ImageSet`: what its
    evaluation has in `metrics.json` besides what every method has.
    """

    @staticmethod
    def answering(
        model: "nn.Module", card: dict[str, Any], point: "Point | None", folder: Path
    ) -> Answering:
        """The model at an operating point.

        Args:
            model: of the run, in evaluation mode.
            card: of the run.
            point: of the run's operating points; None where the method has none.
            folder: of the run, with the tables that `Method.measured` names.
        """
        ...


class ShowingPart(Protocol):
    """`showing.py`: single images as the method sees them, where its answers are not all."""

    @staticmethod
    def figure(
        predictions: "pd.DataFrame", answered: Answered, images: "ImageSet", about: "About"
    ) -> "Drawn":
        """Draw images with their answers.

        Args:
            predictions: `run, seed, id, split, label, predicted, probability`.
            answered: the answers to these images.
            images: these, in that order.
            about: what the figure is of; `blocks` among its options.
        """
        ...
