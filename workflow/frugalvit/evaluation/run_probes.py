"""What a trained run's embedding knows: scikit-learn's classifiers on it, frozen.

Each is fitted on training images and scored on others. Some publish the score of a support vector
machine on the very images that it was fitted on, which measures how well it remembers them: where it is
asked for, it stands beside the proper ones under a name of its own, `svc_same_images`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from frugalvit.data.batches import batches
from frugalvit.errors import DataError
from frugalvit.evaluation.tested import TestedRun
from frugalvit.jobs.progress import Progress
from frugalvit.models.heads import embed

COLUMNS = ["probe", "fitted_on", "fitted_n", "split", "n", "accuracy"]
SAME = "_same_images"  # how a probe's name ends that is scored on what it was fitted on
PROBES: dict[str, Callable[[], Any]] = {
    "svc": SVC,
    "logistic": lambda: make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
    "knn": KNeighborsClassifier,
}


@torch.inference_mode()
def embeddings(run: TestedRun, ids: Sequence[str], shown: Progress) -> np.ndarray:
    """Embeddings of images (`models.heads.embed`), float32 `[images, width]`."""
    images = run.images_of(ids)
    module = run.fabric.setup_module(run.model)
    module.eval()
    found = []
    for pixels, _ in run.fabric.setup_dataloaders(batches(images, run.batch_size)):
        with run.fabric.autocast():
            found.append(embed(module.module, pixels).float().cpu())
        shown.advance(len(pixels))
    return torch.cat(found).numpy()


def probe_run(run: TestedRun, names: Sequence[str], most: int) -> pd.DataFrame:
    """Fit probes on a run's embeddings of training images, score them on its other splits.

    Args:
        run: its `splits` are scored.
        names: of `PROBES`, or one of these with `SAME` behind it.
        most: images that fit, evenly drawn from the training images.

    Returns:
        `COLUMNS`.
    """
    ids = {split: run.ids(split) for split in ("train", *run.splits)}
    train = np.random.default_rng(0).permutation(len(ids["train"]))[:most]
    ids["train"] = [ids["train"][place] for place in sorted(train)]
    shown = Progress(f"embed {run.experiment}", sum(map(len, ids.values())), "images")
    found = {split: embeddings(run, own, shown) for split, own in ids.items()}
    labels = {split: run.images_of(own).labels.numpy() for split, own in ids.items()}
    return fit_and_score(found, labels, names)


def fit_and_score(
    features: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray], names: Sequence[str]
) -> pd.DataFrame:
    """Accuracy of each probe on each split but `train`; `COLUMNS`.

    Args:
        features: split -> `[images, width]`; `train` among them.
        labels: split -> `[images]`.
        names: as `probe_run` takes them.

    Raises:
        DataError: too few images, or a single class.
    """
    rows = []
    scored = [split for split in features if split != "train"]
    for name in names:
        plain, same = name.removesuffix(SAME), name.endswith(SAME)
        fitted = None
        for split in scored:
            on = split if same else "train"
            try:
                if same or fitted is None:
                    fitted = PROBES[plain]().fit(features[on], labels[on])
                right = fitted.predict(features[split]) == labels[split]
            except ValueError as error:  # one class, fewer images than neighbours
                raise DataError(
                    f"evaluation.probes: {name} cannot be fitted on {len(labels[on])} images of "
                    f"{len(set(labels[on].tolist()))} classes ({error}); leave it out"
                ) from None
            rows.append((name, on, len(labels[on]), split, len(right), float(right.mean())))
    return pd.DataFrame(rows, columns=COLUMNS)
