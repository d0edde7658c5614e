"""Models that reduce the number of tokens, evaluated at each of their operating points."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from frugalvit.data.batches import ImageSet, batches
from frugalvit.devices.fabric import Fabric
from frugalvit.evaluation.metrics import (
    batch_averages,
    classification_metrics,
    predictions,
    quality,
)
from frugalvit.evaluation.tested import TestedRun
from frugalvit.jobs.progress import Progress
from frugalvit.methods.tokens.answers import Answers, Leaving
from frugalvit.operating_point import Point


@torch.inference_mode()
def answer(
    fabric: Fabric,
    model: Leaving,
    images: ImageSet,
    batch_size: int,
    shown: Progress | None = None,
) -> Answers:
    """Answers (on the CPU, float32) of a model to whole images, in their order.

    The images count towards `shown`.
    """
    shown = shown or Progress("answer", len(images), "images")
    module = fabric.setup_module(model).eval()
    loader = fabric.setup_dataloaders(batches(images, batch_size))
    batched = []
    for pixels, _ in loader:
        batched.append(model.as_answers(module(pixels)))
        shown.advance(len(pixels))
    logits = torch.cat([answers.logits for answers in batched]).cpu().float()
    depths = [answers.depths for answers in batched if answers.depths is not None]
    halting = [answers.halting for answers in batched if answers.halting is not None]
    return Answers(logits, *(torch.cat(part).cpu() if part else None for part in (depths, halting)))


def point_row(
    point: Point, model: Leaving, split: str, answers: Answers, labels: Tensor
) -> dict[str, Any]:
    """One operating point on one split, `operating_point.EVALUATED`; measured times are left empty.

    Args:
        point: the setting.
        model: that gave the answers.
        split: its name.
        answers: to the split's images.
        labels: theirs, `[images]`.
    """
    depths = answers.depths
    row = point.columns | {
        "split": split,
        **quality(answers.logits, labels),
        "gflops": float(np.mean(model.image_gflops(depths))),
    }
    if depths is not None:
        histogram = depths.flatten().bincount(minlength=model.num_layers + 1)[1:]
        row["mean_depth"] = depths.double().mean().item()
        row["exit_histogram"] = " ".join(map(str, histogram.tolist()))
    return row


class Split(NamedTuple):
    """All points' answers to one split, and the table of the one in use."""

    images: ImageSet
    answers: dict[Point, Answers]
    predictions: pd.DataFrame
    metrics: dict[str, Any]


def evaluate_points(
    run: TestedRun, models: Mapping[Point, Leaving]
) -> tuple[pd.DataFrame, dict[str, Split]]:
    """Every point on every split: a row each, and what each split's images were answered.

    Args:
        run: to test.
        models: by point; the one in use first.
    """
    rows, splits = [], {}
    asked = len(models) * sum(len(run.ids(split)) for split in run.splits)
    shown = Progress(f"evaluate {run.experiment}", asked, "images")
    for split in run.splits:
        images = run.images(split)
        found = {
            point: answer(run.fabric, model, images, run.batch_size, shown)
            for point, model in models.items()
        }
        rows += [
            point_row(point, models[point], split, answers, images.labels)
            for point, answers in found.items()
        ]
        logits = found[next(iter(models))].logits
        table = predictions(images.ids, split, logits, images.labels)
        metrics = classification_metrics(logits, images.labels)
        metrics |= batch_averages(logits, images.labels)
        splits[split] = Split(images, found, table, metrics)
    return pd.DataFrame(rows), splits


def written(run: TestedRun, models: Mapping[Point, Leaving]) -> dict[str, Any]:
    """What an evaluation writes where no token halts: answers at the point in use, and all points."""
    rows, splits = evaluate_points(run, models)
    tables = [split.predictions for split in splits.values()]
    metrics = {name: split.metrics for name, split in splits.items()}
    return run.answered(tables, metrics) | {"untimed": rows}
