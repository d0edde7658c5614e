"""What the evaluation of a run whose tokens are pruned writes."""

from typing import Any

from frugalvit.evaluation.tested import TestedRun
from frugalvit.methods.token_pruning.points import models
from frugalvit.methods.tokens.leaving import written


def evaluate(run: TestedRun, how: dict[str, Any]) -> dict[str, Any]:
    """Answer each split at each point; see `methods.method.TablesPart`."""
    return written(run, models(run.model, how))
