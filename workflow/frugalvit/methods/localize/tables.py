"""What the evaluation of a localizer writes: answers with boxes, their metrics, some pictures."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from frugalvit.data.batches import ImageSet
from frugalvit.data.boxes import with_boxes
from frugalvit.data.thumbnails import encode
from frugalvit.evaluation.metrics import batch_averages, classification_metrics, predictions
from frugalvit.evaluation.tested import TestedRun
from frugalvit.methods.localize.measures import measures, overlaps
from frugalvit.methods.localize.model import answers_of

EDGES = ("x0", "y0", "x1", "y1")
EACH = 4  # pictures of each kind
PICTURE = 128  # px, at most


def evaluate(run: TestedRun, how: dict[str, Any]) -> dict[str, Any]:
    """Answer each split; see `methods.method.TablesPart`."""
    tables, metrics, pictures = [], {}, []
    for split in run.splits:
        outputs, labels = run.logits(split)
        answers = answers_of(outputs)
        images = run.images(split)
        true = images.boxes
        found = overlaps(answers.boxes, torch.from_numpy(true))
        own = predictions(run.ids(split), split, answers.logits, labels)
        boxes = answers.boxes.clamp(0, 1).double().numpy().round(6)
        own = own.assign(**dict(zip(EDGES, boxes.T)), iou=found.numpy().round(6))
        tables.append(own)
        metrics[split] = (
            classification_metrics(answers.logits, labels)
            | batch_averages(answers.logits, labels)
            | _measures(answers.logits, answers.boxes, labels, true)
        )
        pictures.append(_pictures(images, own, true))
    return {**run.answered(tables, metrics), "pictures": pd.concat(pictures)}


def _measures(
    logits: Tensor, boxes: Tensor, labels: Tensor, true: np.ndarray
) -> dict[str, float | int | None]:
    predicted = torch.cat([logits.argmax(dim=1, keepdim=True).float(), boxes], dim=1)
    told = measures(predicted, with_boxes(labels, true))
    known = {name: None if np.isnan(value) else value for name, value in told.items()}
    return {**known, "boxed": int((~np.isnan(true).any(axis=1)).sum())}


def _pictures(images: ImageSet, own: pd.DataFrame, true: np.ndarray) -> pd.DataFrame:
    """Images with the best and worst boxes, and some drawn at random.

    Returns:
        `kind` (best, worst, random), `id, split, class_name, predicted_name, iou`, `image` (base64 PNG
        of what the model sees), the predicted edges `EDGES` and the true ones, `true_x0` and so on.
    """
    order = own.assign(place=range(len(own))).dropna(subset=["iou"]).sort_values("iou")["place"]
    drawn = np.random.default_rng(0).permutation(order.to_numpy())[:EACH]
    kinds = {"best": order.iloc[::-1][:EACH], "worst": order.iloc[:EACH], "random": drawn}
    names, rows = images.store.class_names, []
    for kind, places in kinds.items():
        for place in places:
            row = own.iloc[place]
            [view] = images.pictures([place])
            rows.append(
                {
                    "kind": kind,
                    **{key: row[key] for key in ("id", "split", "iou", *EDGES)},
                    "class_name": names[row["label"]],
                    "predicted_name": names[row["predicted"]],
                    **{f"true_{edge}": value for edge, value in zip(EDGES, true[place].round(6))},
                    "image": encode(view, largest=PICTURE),
                }
            )
    columns = ["kind", "id", "split", "iou", *EDGES, "class_name", "predicted_name"]
    columns += [*(f"true_{edge}" for edge in EDGES), "image"]
    return pd.DataFrame(rows, columns=columns)
