"""A run that is evaluated: its model, and the images that it is asked about."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor, nn

from frugalvit.data.batches import ImageSet
from frugalvit.data.store import Store
from frugalvit.devices.fabric import Fabric
from frugalvit.evaluation.confident import confident_mistakes
from frugalvit.evaluation.predict import logits_of
from frugalvit.evaluation.promises import CALIBRATION
from frugalvit.jobs.progress import Progress

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TestedRun:
    """What a method's `tables.evaluate` is given."""

    experiment: str
    store: Store
    assignments: pd.DataFrame
    model: nn.Module  # in evaluation mode
    card: dict[str, Any]
    fabric: Fabric
    features: Path | None  # folder of the base's plain features, where the run may use them
    splits: Sequence[str]  # to answer
    batch_size: int
    mistakes: int  # most confident ones kept as thumbnails
    options: dict[str, Any] = field(default_factory=dict)  # `Method.options` of `evaluation`

    def ids(self, split: str) -> list[str]:
        """Images of a split."""
        return self.assignments.loc[self.assignments["split"] == split, "id"].tolist()

    def images(self, split: str) -> ImageSet:
        """Images of a split, as the model sees them."""
        return self.images_of(self.ids(split))

    def images_of(self, ids: Sequence[str]) -> ImageSet:
        """Any images, as the model sees them."""
        return ImageSet(self.store, ids, self.card["preprocessing"])

    @cached_property
    def _shown(self) -> Progress:
        """Counts images of all splits, each of which may be too short for a line of its own."""
        images = sum(len(self.ids(split)) for split in self.splits)
        return Progress(f"evaluate {self.experiment}", images, "images")

    def logits(self, split: str) -> tuple[Tensor, Tensor]:
        """Logits and labels of a split, from cached features where that is the same."""
        how = (self.card["preprocessing"], self.features, self.batch_size)
        return logits_of(self.fabric, self.model, self.store, self.ids(split), *how, self._shown)

    def answered(
        self, tables: Sequence[pd.DataFrame], metrics: Mapping[str, dict[str, Any]]
    ) -> dict[str, Any]:
        """What every evaluation writes: `predictions`, `thumbnails` and `metrics`.

        Args:
            tables: predictions of each split.
            metrics: by split.
        """
        # What calibration images are answered sets thresholds; it is no result.
        metrics = {split: own for split, own in metrics.items() if split != CALIBRATION}
        for split, measures in metrics.items():
            log.info("%s: accuracy %.4f over %d images", split, measures["accuracy"], measures["n"])
        table = pd.concat(tables)
        thumbnails = confident_mistakes(table, self.store, self.mistakes)
        return {"predictions": table, "thumbnails": thumbnails, "metrics": metrics}
