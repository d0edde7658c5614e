"""What the evaluation of a network writes: its answers and their metrics."""

from typing import Any

from frugalvit.evaluation.metrics import batch_averages, classification_metrics, predictions
from frugalvit.evaluation.tested import TestedRun
from frugalvit.methods.scratch.objective import SquaredError


def evaluate(run: TestedRun, how: dict[str, Any]) -> dict[str, Any]:
    """Answer each split; see `methods.method.TablesPart`. `mse` is against one-hot targets."""
    tables, metrics = [], {}
    for split in run.splits:
        logits, labels = run.logits(split)
        tables.append(predictions(run.ids(split), split, logits, labels))
        metrics[split] = classification_metrics(logits, labels) | batch_averages(logits, labels)
        if how["loss"] == "mse":
            error = SquaredError().losses(logits, labels, logits)["loss"]
            metrics[split] |= {"mse": error.item()}
    return run.answered(tables, metrics)
