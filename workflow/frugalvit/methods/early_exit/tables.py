"""What the evaluation of a run with early exits writes: exits, points, first and last images."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from frugalvit.data.store import Store
from frugalvit.data.thumbnails import encode
from frugalvit.evaluation.metrics import classification_metrics, predictions, quality
from frugalvit.evaluation.tested import TestedRun
from frugalvit.methods.early_exit.choosing import Costs
from frugalvit.methods.early_exit.criteria import (
    decide,
    first_exits,
    log_probabilities,
    score_exits,
)
from frugalvit.methods.early_exit.enough import kept_apart
from frugalvit.methods.early_exit.exit_flops import exit_flops
from frugalvit.methods.early_exit.targets import calibrate
from frugalvit.models.flops import vit_flops
from frugalvit.operating_point import EVALUATED, NEVER, Point

log = logging.getLogger(__name__)

COLUMNS = [
    "exit", "split", "n", "accuracy", "macro_f1", "loss", "ece", "temperature",
    "loss_calibrated", "ece_calibrated", "gflops",
]  # fmt: skip


def evaluate(run: TestedRun, how: dict[str, Any]) -> dict[str, Any]:
    """Thresholds from calibration images, then every split; see `methods.method.TablesPart`."""
    splits = {split: run.logits(split) for split in run.splits}
    costs = costs_of(run.card)
    ids = run.ids("calibration")
    groups = run.store.groups(ids)
    making, apart = kept_apart(groups, how, run.options.get("abstain"))
    logits, labels = splits["calibration"]
    own = [groups[place] for place in making]
    found = calibrate(run.experiment, how, logits[making], labels[making], own, costs)
    point = found.deployed
    log.info("in use: %s by %s", point.name, point.model)
    for each in found.points:
        if each.note:
            log.info("%s: %s", each.name, each.note)
    tables, metrics = [], {}
    answered = {split: (run.ids(split), *splits[split]) for split in ("valid", "test")}
    if apart:
        answered["calibration"] = ([ids[place] for place in apart], logits[apart], labels[apart])
    for split, (shown, logits, labels) in answered.items():
        left, answers = decide(logits, found.temperatures, *point.rule)
        table = predictions(shown, split, answers, labels)
        tables.append(table.assign(exit=[costs.blocks[place] for place in left.tolist()]))
        metrics[split] = classification_metrics(answers, labels)
    return run.answered(tables, metrics) | {
        "exit_images": first_and_last(pd.concat(tables), run.store, run.mistakes // 2),
        "exits": exits_table(splits, found.temperatures, costs),
        "untimed": evaluate_points(found.points, splits, found.temperatures, costs),
        "calibration": {
            "exits": costs.blocks,
            "temperatures": found.temperatures.tolist(),
            "n": {"fitted": found.fitted, "certified": found.certified, "apart": len(apart)},
        },
    }


def costs_of(card: dict) -> Costs:
    """GFLOPs of the exits of a run, from its card."""
    architecture, exits = card["architecture"], card["exits"]
    num_classes = architecture["num_classes"]
    return Costs(
        blocks=exits["after"],
        gflops=exit_flops(architecture, num_classes, exits["after"], exits["head"]),
        full_gflops=vit_flops(architecture, num_classes),
    )


def exits_table(
    splits: Mapping[str, tuple[Tensor, Tensor]], temperatures: Tensor, costs: Costs
) -> pd.DataFrame:
    """One row an exit and split: its metrics, before and after its temperature.

    Args:
        splits: logits `[images, exits, classes]` and labels `[images]` of each split by its name.
        temperatures: one an exit.
        costs: of the exits.

    Returns:
        `COLUMNS`; `exit` is the block's number, `gflops` what an image costs that leaves there.
    """
    rows = []
    for split, (logits, labels) in splits.items():
        for place, (block, gflops) in enumerate(zip(costs.blocks, costs.gflops)):
            raw = classification_metrics(logits[:, place], labels)
            temperature = float(temperatures[place])
            calibrated = classification_metrics(logits[:, place] / temperature, labels)
            rows.append(
                {
                    "exit": block,
                    "split": split,
                    **{key: raw[key] for key in ("n", "accuracy", "macro_f1", "loss", "ece")},
                    "temperature": temperature,
                    "loss_calibrated": calibrated["loss"],
                    "ece_calibrated": calibrated["ece"],
                    "gflops": gflops,
                }
            )
    return pd.DataFrame(rows, columns=COLUMNS)


def first_and_last(predictions: pd.DataFrame, store: Store, limit: int) -> pd.DataFrame:
    """The test images that left first and those that left last, with their pictures.

    Among images of one exit the surest leave first and the least sure last.

    Args:
        predictions: `id, split, label, predicted, probability, exit`.
        store: where the pictures are.
        limit: most images of either group.

    Returns:
        `group` (`first` or `last`), `id, label, predicted, exit, probability, image` (base64 PNG).
    """
    test = predictions[predictions["split"] == "test"]
    order = test.sort_values(["exit", "probability", "id"], ascending=[True, False, True])
    limit = min(limit, len(order) // 2)
    groups = {"first": order.head(limit), "last": order.tail(limit).iloc[::-1]}
    table = pd.concat([rows.assign(group=name) for name, rows in groups.items()])
    places = store.index.set_index("id")
    table["image"] = [
        encode(store.images(places.at[name, "split"])[places.at[name, "row"]])
        for name in table["id"]
    ]
    return table[["group", "id", "label", "predicted", "exit", "probability", "image"]]


def evaluate_points(
    points: Sequence[Point],
    splits: Mapping[str, tuple[Tensor, Tensor]],
    temperatures: Sequence[float] | Tensor,
    costs: Costs,
) -> pd.DataFrame:
    """One row a point and split, with the columns `EVALUATED`; measured times are left empty.

    Args:
        points: to evaluate.
        splits: logits `[images, exits, classes]` and labels `[images]` of each split by its name.
        temperatures: one an exit.
        costs: of the exits.
    """
    rows = []
    for split, (logits, labels) in splits.items():
        scored = {
            criterion: score_exits(logits, temperatures, criterion)
            for criterion in {point.rule[0] for point in points}
        }
        for point in points:
            criterion, threshold = point.rule
            if threshold == NEVER:
                exits = torch.full((len(labels),), len(costs.blocks) - 1)
                answers = log_probabilities(logits[:, -1], float(temperatures[-1]))
            else:
                scores, all_answers = scored[criterion]
                exits = first_exits(scores, threshold)
                answers = all_answers[torch.arange(len(exits)), exits]
            rows.append(
                {
                    **point.columns,
                    "split": split,
                    **quality(answers, labels),
                    **_cost(exits, threshold, costs),
                }
            )
    return pd.DataFrame(rows, columns=EVALUATED)


def _cost(exits: Tensor, threshold: float, costs: Costs) -> dict:
    histogram = exits.bincount(minlength=len(costs.blocks))
    gflops = torch.tensor(costs.gflops, dtype=torch.float64)
    mean = costs.full_gflops if threshold == NEVER else gflops[exits].mean().item()
    return {
        "gflops": mean,
        "mean_depth": torch.tensor(costs.blocks)[exits].double().mean().item(),
        "exit_histogram": " ".join(map(str, histogram.tolist())),
    }
