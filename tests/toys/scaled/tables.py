"""Answers, and the scale that was learned."""

from typing import Any

import pandas as pd

from frugalvit.evaluation.metrics import classification_metrics, predictions
from frugalvit.evaluation.tested import TestedRun


def evaluate(run: TestedRun, how: dict[str, Any]) -> dict[str, Any]:
    """Answer each split."""
    tables, metrics = [], {}
    for split in run.splits:
        logits, labels = run.logits(split)
        tables.append(predictions(run.ids(split), split, logits, labels))
        metrics[split] = classification_metrics(logits, labels)
    scales = pd.DataFrame({"scale": [run.model.scale.factor.item()]})
    return run.answered(tables, metrics) | {"scales": scales}
