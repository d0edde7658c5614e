"""What each exit gives, and which images leave first and last."""

from collections.abc import Mapping

import pandas as pd
from torch import Tensor

from frugalvit.data.store import Store
from frugalvit.data.thumbnails import encode
from frugalvit.evaluation.metrics import classification_metrics
from frugalvit.methods.early_exit.exit_flops import exit_flops
from frugalvit.methods.early_exit.points import Costs
from frugalvit.models.flops import vit_flops

COLUMNS = [
    "exit", "split", "n", "accuracy", "macro_f1", "loss", "ece", "temperature",
    "loss_calibrated", "ece_calibrated", "gflops",
]  # fmt: skip


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
