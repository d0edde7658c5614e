"""One sitting in which all networks and operating points of a study are measured, taking turns.

Times of two moments, or of two processes, do not compare: the machine may be slower at one of them.
"""

import json
import logging
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, cast

import pandas as pd
from torch import Tensor, nn

from frugalvit.busy import load_text
from frugalvit.data.batches import ImageSet
from frugalvit.data.store import Store
from frugalvit.devices.fabric import Fabric, make_fabric, precision_of
from frugalvit.errors import sized_by
from frugalvit.evaluation.cost import LARGE_BATCH
from frugalvit.evaluation.timed_points import (
    TimedRun,
    cost_table,
    plain_cost_table,
    plain_key,
    rows_of_run,
    sample_ids,
)
from frugalvit.evaluation.timing import measure_points
from frugalvit.files import read_csv
from frugalvit.methods.method import PLAIN
from frugalvit.methods.registry import part
from frugalvit.methods.trained import load_run, start_run
from frugalvit.models.any_model import architecture_of_model, gflops_of_model
from frugalvit.models.backbone import backbone_of
from frugalvit.models.base import build_from_base, preprocessing_of
from frugalvit.models.networks.network import Network
from frugalvit.operating_point import FULL, points_of

log = logging.getLogger(__name__)


class Sitting:
    """What is measured together: add networks and runs, measure, ask for their tables."""

    def __init__(
        self,
        store: Store,
        bases: Mapping[str, Path],
        assignments: Mapping[str, pd.DataFrame],
        gpus: int,
        threads: int,
        throughput_batch: int,
        measure_seconds: float,
        measure_images: int,
    ):
        """Nothing is measured yet.

        Args:
            store: of the study.
            bases: folders of the bases at their sizes, by name; none in a study without any.
            assignments: of images to splits, by the folder of the splits.
            gpus: granted.
            threads: CPU threads granted.
            throughput_batch: images a batch of the points' throughput.
            measure_seconds: shortest time over which each number is measured.
            measure_images: at most; as many of each folder of splits.
        """
        self.bases, self.threads, self.gpus = bases, threads, gpus
        self.num_classes = len(store.class_names)
        self.batch_sizes = [1, throughput_batch, LARGE_BATCH]
        self.seconds = measure_seconds
        self._store = store
        self._ids = _shown(assignments, measure_images)
        self._pixels: dict[str, Tensor] = {}
        self._fabrics: dict[str, Fabric] = {}
        self._models: dict[Hashable, nn.Module] = {}
        self._images: dict[Hashable, Tensor] = {}
        self._gflops: dict[tuple, float] = {}
        self._rows: list[dict[str, Any]] = []

    def add_plain(
        self,
        base: str | None,
        keep_blocks: int | None,
        precision: str,
        made: dict[str, Any] | None = None,
    ) -> tuple:
        """A network that answers whole; returns its key.

        No time depends on weights, so a run's own need not be trained yet.

        Args:
            base: name of the base, whose images it sees; None in a study without any.
            keep_blocks: the base with a head, cut to so many first blocks; whole where None.
            precision: of its runs.
            made: in place of the base, settings of a network made from nothing (`start_run`).
        """
        used, folder = precision_of(self._fabric(precision)), self.bases.get(base or "")
        if made:
            network = start_run(made, folder, None, self.num_classes).eval()
            key = (FULL, json.dumps(made, sort_keys=True), used)
            self._gflops[key] = cast(Network, network).gflops
        else:
            network = build_from_base(
                cast(Path, folder), self.num_classes, num_layers=keep_blocks
            ).eval()
            key = plain_key(architecture_of_model(network), used)
            self._gflops[key] = gflops_of_model(network)
        seen = preprocessing_of(folder, made or {})
        self._add(key, network, precision, next(iter(self._ids)), seen)
        return key

    def add_run(self, run: dict[str, Any], folder: Path) -> TimedRun:
        """All operating points of an adaptive run, and the plain model of its depth.

        Args:
            run: `experiment`, `run`, `seed`, `method`, `evaluation`, `splits`.
            folder: of the run.
        """
        model, card = load_run(folder)
        points = read_csv(folder / "untimed_points.csv")
        timed = part(run["method"], "points").timed
        adapted = timed(model.eval(), points_of(points), run["evaluation"], folder)
        own = {FULL: backbone_of(model), **adapted}
        each = TimedRun(run, points, card, list(own))
        for name, module in own.items():
            self._add(
                each.key(name), module, card["precision"], run["splits"], card["preprocessing"]
            )
        return each

    def measure(self) -> None:
        """Measure everything that was added."""
        device = next(iter(self._fabrics.values())).device
        how = (self.batch_sizes, self.threads, self.seconds, device)
        log.info("%d networks and operating points take turns", len(self._models))
        with sized_by("evaluation.throughput_batch"):
            self._rows = measure_points(self._models, self._images, *how)
        said = load_text([row["busy_cores"] for row in self._rows])
        if said:
            log.warning("%s", said)

    def plain_costs(self, key: tuple) -> pd.DataFrame:
        """Table of cost of a plain network (`evaluation.cost.COLUMNS`)."""
        return plain_cost_table(self._rows, key, PLAIN, self._gflops[key])

    def costs(self, run: TimedRun) -> pd.DataFrame:
        """Table of cost of a run's operating points and of the plain model beside them."""
        return cost_table(rows_of_run(self._rows, run), run.points, run.card)

    def _fabric(self, precision: str) -> Fabric:
        if precision not in self._fabrics:
            self._fabrics[precision] = make_fabric(self.gpus, self.threads, precision)
        return self._fabrics[precision]

    def _add(
        self, key: tuple, model: nn.Module, precision: str, splits: str, seen: dict[str, Any]
    ) -> None:
        if key not in self._models:
            self._models[key] = self._fabric(precision).setup_module(model)
            self._images[key] = self._images_of(splits, seen)

    def _images_of(self, splits: str, seen: dict[str, Any]) -> Tensor:
        """The images of a folder of splits as a network sees them."""
        name = json.dumps([splits, seen], sort_keys=True)
        if name not in self._pixels:
            images = ImageSet(self._store, self._ids[splits], seen)
            self._pixels[name] = images.__getitems__(list(range(len(images))))[0]
        return self._pixels[name]


def _shown(assignments: Mapping[str, pd.DataFrame], limit: int) -> dict[str, list[str]]:
    """Images that train no run of their splits, equally many of each folder of splits."""
    ids = {splits: sample_ids(table, limit) for splits, table in assignments.items()}
    fewest = min(map(len, ids.values()))
    return {splits: chosen[:fewest] for splits, chosen in ids.items()}
