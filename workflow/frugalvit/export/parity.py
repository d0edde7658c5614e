"""An export and its run on the same images: what they answer, and how far apart."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from frugalvit.data.arrays import Square
from frugalvit.data.batches import ImageSet, batch_order
from frugalvit.data.photos import Photos
from frugalvit.data.views import to_tensor
from frugalvit.devices.fabric import Fabric
from frugalvit.errors import DataError
from frugalvit.export.runner import Model
from frugalvit.jobs.progress import Progress
from frugalvit.methods.graphs import BOXES, DEPTH, EMBEDDING, PROBABILITIES
from frugalvit.methods.predictor import Predictor
from frugalvit.models.heads import embed
from frugalvit.models.networks.network import Network

TOLERANCE = 1e-4  # of a probability, a share of the view's side, or an embedding's largest number
DEPTH_STEP = 1e-4  # to which the run tells a mean depth

Found = dict[str, np.ndarray]
Answerer = Callable[[np.ndarray], Found]  # from stored pixels, uint8 [batch, side, side, 3]


def of_run(predictor: Predictor, fabric: Fabric) -> Answerer:
    """The run's own answers, as `runner.Model.answer` names them."""
    how = predictor.card["preprocessing"]

    def answer(pixels: np.ndarray) -> Found:
        images = to_tensor(pixels, how["image_size"], how["mean"], how["std"])
        answered = predictor.answer(fabric, images)
        found = {PROBABILITIES: answered.scores.float().softmax(dim=1).numpy()}
        found |= {name: np.array(values) for name, values in answered.columns.items()}
        if answered.boxes is not None:
            found[BOXES] = answered.boxes.numpy()
        if isinstance(predictor.module, Network):
            with torch.inference_mode():
                found[EMBEDDING] = embed(predictor.module, images).numpy()
        return found

    return answer


def compare_stored(
    run: Answerer, export: Answerer, images: ImageSet, batch_size: int
) -> dict[str, Any]:
    """Both on a split's stored images; see `differences`."""
    order = batch_order(len(images), batch_size)
    return differences(_answered(run, export, (images.raw(at) for at in order), images), images)


def compare_photos(
    predictor: Predictor, run: Answerer, model: Model, images: ImageSet, folder: Path
) -> dict[str, Any]:
    """Both from image files, each with its own decoding; see `differences`.

    Args:
        predictor: of the run.
        run: its answers.
        model: the export.
        images: of the split.
        folder: that the store's index names files below.

    Returns:
        Also `missing`, images without a file, and `refused`, files that the runner does not read.

    Raises:
        DataError: there are no files of these images.
    """
    names = images.store.index.set_index("id").loc[images.ids, "file"]
    files = {place: folder / str(name) for place, name in enumerate(names)}
    there = {place: file for place, file in files.items() if file.is_file()}
    if not there:
        raise DataError(
            f"{folder}: holds none of these images, such as {files[0]}; name their folder"
        )
    square = Square(**predictor.card["square"])
    photos = Photos(list(there.values()), square, predictor.card["preprocessing"])
    pairs, known, refused = [], [], 0
    with Progress("compare image files", len(there), "images") as shown:
        for position, (place, file) in enumerate(there.items()):
            shown.advance(1)
            try:
                pixels = model.decode(file)[0][None]
            except ValueError:
                refused += 1
                continue
            own = photos.stored(position)
            pairs.append((run(own[None]), model.answer(pixels)))
            known.append(place)
    chosen = ImageSet(images.store, [images.ids[place] for place in known], images.preprocessing)
    return {
        **differences(pairs, chosen),
        "missing": len(files) - len(there),
        "refused": refused,
    }


def _answered(
    run: Answerer, export: Answerer, parts: Iterator[np.ndarray], images: ImageSet
) -> list[tuple[Found, Found]]:
    pairs = []
    with Progress("compare", len(images), "images") as shown:
        for pixels in parts:
            pairs.append((run(pixels), export(pixels)))
            shown.advance(len(pixels))
    return pairs


def differences(pairs: Sequence[tuple[Found, Found]], images: ImageSet) -> dict[str, Any]:
    """How far apart the answers of two models are.

    Args:
        pairs: of the run and of its export, batch by batch.
        images: in that order.

    Returns:
        `n`; `accuracy_run` and `accuracy`; `answers_differ`, images of another class;
        `largest_probability_difference` of any class; where there are some, `exits_differ` and
        `largest_{boxes,depth,embedding}_difference`; `same`, whether all that is within `TOLERANCE`.
    """
    run, export = (
        {name: np.concatenate([one[name] for one in side]) for name in side[0]}
        for side in zip(*pairs)
    )
    labels = images.labels.numpy()
    answers = [side[PROBABILITIES].argmax(axis=1) for side in (run, export)]
    told: dict[str, Any] = {
        "n": len(labels),
        "accuracy_run": float((answers[0] == labels).mean()),
        "accuracy": float((answers[1] == labels).mean()),
        "answers_differ": int((answers[0] != answers[1]).sum()),
        "largest_probability_difference": _largest(run, export, PROBABILITIES),
    }
    same = told["answers_differ"] == 0 and told["largest_probability_difference"] <= TOLERANCE
    if "exit" in run:
        told["exits_differ"] = int((run["exit"] != export["exit"]).sum())
        same = same and told["exits_differ"] == 0
    allowed = {BOXES: TOLERANCE, DEPTH: DEPTH_STEP}
    if EMBEDDING in export:
        allowed[EMBEDDING] = TOLERANCE * max(1.0, float(np.abs(run[EMBEDDING]).max()))
    for name, most in allowed.items():
        if name in export:
            told[f"largest_{name}_difference"] = _largest(run, export, name)
            same = same and told[f"largest_{name}_difference"] <= most
    return told | {"same": bool(same)}


def _largest(run: Found, export: Found, name: str) -> float:
    return float(np.abs(run[name].astype(np.float64) - export[name]).max())
