"""A finished run on its study's stored images once more: metrics, and answers to single images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from frugalvit.checksums import check_noted
from frugalvit.data.assignments import read_assignments
from frugalvit.data.batches import ImageSet, batches
from frugalvit.data.store import Store
from frugalvit.devices.fabric import Fabric
from frugalvit.errors import ConfigError, DataError
from frugalvit.evaluation.metrics import batch_averages, classification_metrics, predictions
from frugalvit.files import read_json, sha256_file
from frugalvit.jobs.progress import Progress
from frugalvit.methods import registry
from frugalvit.methods.method import Answered
from frugalvit.methods.predictor import Predictor


class StudyImages:
    """The images that a run was trained and tested with, found by the checksums in its card.

    Args:
        folder: of the run, `results/{study}/runs/{run}`.
        card: of the run.
        data: folder of the store; looked for in `data/` beside `results/` where None.

    Raises:
        DataError: the images or their splits are not there.
    """

    def __init__(self, folder: Path, card: dict[str, Any], data: Path | None):
        run = folder.resolve()
        study = run.parent.parent
        root = study.parent.parent
        given = [data, data / "store"] if data else sorted((root / "data").glob("*/store"))
        stores = [place / "index.csv" for place in given]
        index = _same(stores, card["sha256"]["index"])
        if index is None:
            raise DataError(
                f"{data or root / 'data'}: no store of the images that {run.name} was trained with; "
                "name its folder with --data"
            )
        tables = sorted(study.glob("splits*/assignments.csv"))
        assignments = _same(tables, card["sha256"]["assignments"])
        if assignments is None:
            raise DataError(f"{study}: no splits*/assignments.csv that {run.name} was trained with")
        self.store = Store(index.parent)
        self.preprocessing = card["preprocessing"]
        self._table = read_assignments(assignments, self.store)

    def of_split(self, split: str, places: Sequence[int] | None = None) -> ImageSet:
        """Images of a split, those at `places` alone where they are given.

        Raises:
            ConfigError: the split has no images, or fewer than a place asks for.
        """
        ids = self._table.loc[self._table["split"] == split, "id"].tolist()
        if not ids:
            raise ConfigError(f"--split: this study has no {split} images; take another")
        for place in places or ():
            if not 0 <= place < len(ids):
                raise ConfigError(
                    f"--images: {place}, but the {len(ids)} {split} images count from 0"
                )
        chosen = ids if places is None else [ids[place] for place in places]
        return ImageSet(self.store, chosen, self.preprocessing)


def _same(files: Sequence[Path], sha256: str) -> Path | None:
    there = (file for file in files if file.is_file())
    return next((file for file in there if sha256_file(file) == sha256), None)


def answers(predictor: Predictor, fabric: Fabric, images: ImageSet, batch_size: int) -> Answered:
    """The run's answers to stored images, in their order."""
    found = []
    with Progress("answer", len(images), "images") as shown:
        for pixels, _ in batches(images, batch_size):
            found.append(predictor.answer(fabric, pixels))
            shown.advance(len(pixels))
    columns = {
        name: [value for part in found for value in part.columns[name]] for name in found[0].columns
    }
    boxes, depths = (_joined([getattr(part, key) for part in found]) for key in ("boxes", "depths"))
    return Answered(torch.cat([part.scores for part in found]), columns, boxes, depths)


def _joined(parts: list[Tensor | None]) -> Tensor | None:
    known = [part for part in parts if part is not None]
    return torch.cat(known) if known else None


def metrics_again(
    predictor: Predictor, folder: Path, split: str, answered: Answered, images: ImageSet
) -> tuple[dict[str, Any], list[str]]:
    """The metrics that `metrics.json` has of a split, computed anew, and the names of those left out.

    Where the workflow has not evaluated the split, what every classifier has.
    """
    labels = images.labels
    found = classification_metrics(answered.scores, labels)
    file = folder / "metrics.json"
    check_noted(file)
    told = read_json(file).get(split) if file.is_file() else None
    if told is None:
        return found, []
    found |= batch_averages(answered.scores, labels)
    method = predictor.card["method"]
    if registry.has(method, "answering"):
        own = getattr(registry.part(method, "answering"), "measures", None)
        found |= own(answered, images) if own else {}
    return {key: found[key] for key in told if key in found}, [
        key for key in told if key not in found
    ]


def predicted(
    predictor: Predictor, run: str, split: str, answered: Answered, images: ImageSet
) -> pd.DataFrame:
    """The answers as a table, `predictions` with `run` and `seed`, and what else the method tells."""
    table = predictions(images.ids, split, answered.scores, images.labels)
    return table.assign(run=run, seed=predictor.card["seed"], **answered.columns)
