"""A finished run answers new images: all that it needs lies in its folder."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from frugalvit.checksums import WEIGHTS_KEY, check_noted
from frugalvit.data.arrays import Square
from frugalvit.data.photos import PhotoBatch, Photos
from frugalvit.devices.fabric import Fabric
from frugalvit.errors import ConfigError, DataError, sized_by
from frugalvit.evaluation.abstaining import SURE
from frugalvit.files import read_csv, read_json
from frugalvit.methods import registry
from frugalvit.methods.method import Answered, Answering
from frugalvit.methods.trained import load_run
from frugalvit.operating_point import NEVER, Point, point_of, points_of

EDGES = ("x0", "y0", "x1", "y1")
POINTS = "operating_points.csv"
NEEDED = ("method", "architecture", "precision", "preprocessing", "classes", "square")


class Predicted(NamedTuple):
    """Answers to a batch of photos."""

    rows: list[dict[str, Any]]  # `Predictor.columns` of each
    faults: list[tuple[Path, str]]  # photos that cannot be read, and why


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a run that can answer new images.

    Raises:
        DataError: the folder is no run's, or an earlier version made it.
    """
    if not (folder / "card.json").is_file():
        raise DataError(
            f"{folder}: no card.json; name the folder of a run, results/*/runs/*, or of a study that "
            "has an answer"
        )
    check_noted(folder / "card.json")
    card = read_json(folder / "card.json")
    missing = [key for key in NEEDED if not isinstance(card, dict) or card.get(key) is None]
    if missing:
        raise DataError(_lacking(folder, ", ".join(missing)))
    asked = card["architecture"]["num_classes"]
    if len(card["classes"]) != asked:
        raise DataError(
            f"{folder / 'card.json'}: {len(card['classes'])} classes, but the model tells {asked} "
            "apart; train the run again"
        )
    return card


def _lacking(folder: Path, keys: str) -> str:
    """What is said of a card without these keys."""
    return f"{folder / 'card.json'}: no {keys}, as in runs of earlier versions; train the run again"


def answer_of(folder: Path) -> tuple[Path, str | None]:
    """The run of a study's answer and the name of its point; of a run's folder, itself.

    Raises:
        DataError: the study has no answer.
    """
    record = folder / "answer.json"
    if (folder / "card.json").is_file() or not record.is_file():
        return folder, None
    check_noted(record)
    answer = read_json(record)["answer"]
    if answer is None:
        raise DataError(f"{record}: no model meets what was asked; name a run of {folder / 'runs'}")
    point = point_of(answer).name if answer["setting"] else None
    return folder / "runs" / answer["run"], point


def find_point(folder: Path, method: str, name: str | None) -> Point | None:
    """The operating point of a name, or the run's chosen one; None of a method that has none.

    Raises:
        ConfigError: there is none of that name.
        DataError: the run has not been evaluated.
    """
    own = registry.method(method)
    if not own.adaptive:
        if name is not None:
            raise ConfigError(f"{folder}: a run of {method} has no operating points; ask for none")
        return None
    table = table_of_points(folder, method)
    points = {point.name: point for point in points_of(read_csv(table, ("setting", "value")))}
    if name is None:
        chosen = next((point for point in points.values() if point.chosen), None)
        if chosen is None:
            raise DataError(f"{table}: no point is chosen; name one of: {', '.join(points)}")
        return chosen
    if name not in points:
        raise ConfigError(
            f"{folder}: no operating point '{name}'; choose from: {', '.join(points)}"
        )
    return points[name]


def surest(folder: Path, card: dict[str, Any], point: Point | None) -> float:
    """The confidence from which a run answers, as the workflow shows on calibration images.

    Raises:
        ConfigError: it was shown at another operating point.
        DataError: nothing was shown of these weights.
    """
    if not (folder / SURE).is_file():
        raise DataError(
            f"{folder}: no {SURE}; set evaluation.abstain in the study and let the workflow make it"
        )
    told = read_json(folder / SURE)
    if told.get(WEIGHTS_KEY) != card.get(WEIGHTS_KEY):
        raise DataError(f"{folder / SURE}: is of other weights; let the workflow make it anew")
    name = point.name if point else None
    if told["point"] != name:
        raise ConfigError(
            f"{folder}: says when it is unsure at its chosen point, {told['point']}, not at {name}; "
            f"write --point '{told['point']}', or leave --abstain out"
        )
    return NEVER if told["threshold"] is None else float(told["threshold"])


def table_of_points(folder: Path, method: str) -> Path:
    """The table of an adaptive run's operating points, timed or not yet.

    Raises:
        DataError: the run has not been evaluated, or the table is damaged.
    """
    names = (POINTS, registry.method(method).tables["untimed"])
    table = next((folder / name for name in names if (folder / name).is_file()), None)
    if table is None:
        raise DataError(f"{folder}: no {POINTS}; let the workflow evaluate the run")
    check_noted(table)
    return table


class Predictor:
    """A run at one operating point.

    Args:
        folder: of the run.
        point: name of the operating point; the chosen one where None.
        abstain: whether it says "unsure" where its confidence is below the run's threshold: the
            class is then empty, and the column `unsure` true.

    Raises:
        ConfigError: there is no such point, or no threshold for it.
        DataError: the folder is no run's, or an earlier version made it.
        WeightsError: the weights are not those of the card.
    """

    def __init__(self, folder: Path, point: str | None = None, abstain: bool = False):
        self.card = read_card(folder)
        method = self.card["method"]
        self.point = find_point(folder, method, point)
        self.threshold = surest(folder, self.card, self.point) if abstain else None
        try:
            model = load_run(folder)[0].eval()
            self._answering = Answering(model, _logits)
            if registry.has(method, "answering"):
                part = registry.part(method, "answering")
                self._answering = part.answering(model, self.card, self.point, folder)
        except KeyError as error:
            raise DataError(_lacking(folder, str(error))) from error
        self._module: nn.Module | None = None  # on the device of the first answer

    @property
    def classes(self) -> list[str]:
        """Names in the order of the logits."""
        return self.card["classes"]

    @property
    def module(self) -> nn.Module:
        """The model that answers."""
        return self._answering.module

    @property
    def columns(self) -> list[str]:
        """What a row tells of a photo."""
        boxes = EDGES if self._answering.boxed else ()
        unsure = () if self.threshold is None else ("unsure",)
        own = self._answering.columns
        return ["file", "class", "probability", *unsure, *own, *boxes, "ms"]

    def answer(self, fabric: Fabric, images: Tensor) -> Answered:
        """What the model says of normalised images `[batch, 3, image_size, image_size]`."""
        if self._module is None:
            self._module = fabric.setup_module(self._answering.module).eval()
        with torch.inference_mode(), sized_by("--batch-size"):
            return self._answering.read(_on_cpu(self._module(images.to(fabric.device))))

    def predict(
        self, fabric: Fabric, files: Sequence[Path], batch_size: int, workers: int
    ) -> Iterator[Predicted]:
        """Answer photos batch by batch; no more than some batches are in memory.

        `ms` is a photo's share of the time that its batch took, decoding not counted; boxes are in px
        of the upright photo.
        """
        photos = Photos(files, Square(**self.card["square"]), self.card["preprocessing"])
        warm = False
        for batch in photos.batches(batch_size, workers):
            if not len(batch.images):
                yield Predicted([], batch.faults)
                continue
            if not warm:  # a first call loads kernels and takes memory: not what a photo takes
                self.answer(fabric, batch.images)
                warm = True
            started = time.perf_counter()
            answered = self.answer(fabric, batch.images)
            seconds = time.perf_counter() - started
            yield Predicted(self._rows(batch, answered, seconds), batch.faults)

    def _rows(self, batch: PhotoBatch, answered: Answered, seconds: float) -> list[dict[str, Any]]:
        probabilities, labels = answered.scores.float().softmax(dim=1).max(dim=1)
        each = round(seconds * 1e3 / len(labels), 3)
        rows = []
        for place, (label, probability) in enumerate(zip(labels.tolist(), probabilities.tolist())):
            row: dict[str, Any] = {"file": batch.files[place], "class": self.classes[label]}
            row["probability"] = round(probability, 6)
            if self.threshold is not None:
                row["unsure"] = row["probability"] < self.threshold
                row["class"] = "" if row["unsure"] else row["class"]
            row |= {name: values[place] for name, values in answered.columns.items()}
            if answered.boxes is not None:
                box = batch.parts[place].box(answered.boxes[place].clamp(0, 1).tolist())
                row |= {edge: round(value, 1) for edge, value in zip(EDGES, box)}
            rows.append(row | {"ms": each})
        return rows


def _logits(outputs: Tensor) -> Answered:
    return Answered(outputs.float(), {})


def _on_cpu(outputs: Any) -> Any:
    """Outputs on the CPU; copying them waits for the device."""
    if isinstance(outputs, Tensor):
        return outputs.cpu()
    if isinstance(outputs, tuple):
        parts = [_on_cpu(part) for part in outputs]
        return type(outputs)(*parts) if hasattr(outputs, "_fields") else tuple(parts)
    return outputs
