"""When an image may exit: five criteria, each a step from one exit to the next.

`confidence` (the largest probability), `entropy` (BranchyNet, Teerapittayanon et al. 2016,
section III), `margin` (between the two largest probabilities), `patience` (consecutive agreeing
exits; PABEE, Zhou et al. 2020) and `ensemble` (largest probability of the geometric mean of the
exits so far, as in ZTW, Wołczyk et al. 2021, with equal weights).

An image leaves at the first exit whose score reaches the threshold, and at the last exit anyway.
A step does for a batch inside the model what it does for the logits of a whole split, so that a
simulation and the model decide alike. No operation here is one that autocast would lower, and
logits are widened first: scores and answers are float32 whatever the model's precision.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from frugalvit.errors import ConfigError
from frugalvit.operating_point import NEVER

CRITERIA = ("confidence", "entropy", "margin", "patience", "ensemble")
LEAST_PATIENCE = 2  # one exit always agrees with itself

State = dict[str, Tensor]
Decision = tuple[Tensor, Tensor, State]
Step = Callable[[Tensor, float, State | None], Decision]


def step_of(criterion: str) -> Step:
    """The step of a criterion: `step(logits, temperature, state) -> (score, answer, state)`.

    `logits` `[batch, classes]` are one exit's, `state` what the step at the exit before returned
    (None at the first). `score` `[batch]` is larger the surer the model is: in [0, 1], but for
    `patience` a whole number from 1. `answer` `[batch, classes]` are log-probabilities. Every
    tensor of the state has the batch as its first dimension, for a caller that drops images.

    Raises:
        ConfigError: no criterion has that name.
    """
    if criterion not in _STEPS:
        raise ConfigError(
            f"criterion: '{criterion}' does not exist: choose from {', '.join(CRITERIA)}"
        )
    return _STEPS[criterion]


def log_probabilities(logits: Tensor, temperature: float) -> Tensor:
    """Calibrated log-probabilities `[batch, classes]`, float32."""
    return (logits.float() / temperature).log_softmax(dim=-1)


def _confidence(logits: Tensor, temperature: float, state: State | None) -> Decision:
    answer = log_probabilities(logits, temperature)
    return answer.amax(dim=1).exp(), answer, {}


def _entropy(logits: Tensor, temperature: float, state: State | None) -> Decision:
    answer = log_probabilities(logits, temperature)
    entropy = -(answer.exp() * answer).sum(dim=1)
    return (1 - entropy / math.log(answer.shape[1])).clamp(0, 1), answer, {}


def _margin(logits: Tensor, temperature: float, state: State | None) -> Decision:
    answer = log_probabilities(logits, temperature)
    first, second = answer.topk(2, dim=1).values.exp().unbind(dim=1)
    return first - second, answer, {}


def _patience(logits: Tensor, temperature: float, state: State | None) -> Decision:
    answer = log_probabilities(logits, temperature)
    predicted = answer.argmax(dim=1)
    if state is None:
        agreeing = torch.ones_like(predicted, dtype=torch.float32)
    else:
        agreeing = torch.where(predicted == state["predicted"], state["agreeing"] + 1, 1.0)
    return agreeing, answer, {"predicted": predicted, "agreeing": agreeing}


def _ensemble(logits: Tensor, temperature: float, state: State | None) -> Decision:
    total = log_probabilities(logits, temperature)
    exits = torch.ones_like(total[:, :1])
    if state is not None:
        total, exits = total + state["total"], exits + state["exits"]
    answer = (total / exits).log_softmax(dim=1)
    return answer.amax(dim=1).exp(), answer, {"total": total, "exits": exits}


_STEPS: dict[str, Step] = {
    "confidence": _confidence,
    "entropy": _entropy,
    "margin": _margin,
    "patience": _patience,
    "ensemble": _ensemble,
}


def score_exits(
    logits: Tensor, temperatures: Sequence[float] | Tensor, criterion: str
) -> tuple[Tensor, Tensor]:
    """Scores `[images, exits]` and answers `[images, exits, classes]` at every exit.

    Args:
        logits: of all exits, `[images, exits, classes]`.
        temperatures: one an exit.
        criterion: one of `CRITERIA`.
    """
    step, state = step_of(criterion), None
    scores, answers = [], []
    for position, temperature in enumerate(torch.as_tensor(temperatures).tolist()):
        score, answer, state = step(logits[:, position], temperature, state)
        scores.append(score)
        answers.append(answer)
    return torch.stack(scores, dim=1), torch.stack(answers, dim=1)


def first_exits(scores: Tensor, threshold: float) -> Tensor:
    """Index `[images]` of the exit where each image leaves, from scores `[images, exits]`."""
    stays = scores < threshold
    stays[:, -1] = False
    return stays.int().argmin(dim=1)


def decide(
    logits: Tensor, temperatures: Sequence[float] | Tensor, criterion: str, threshold: float
) -> tuple[Tensor, Tensor]:
    """Where each image leaves and what is answered there.

    A threshold of `NEVER` is the plain model, which answers by its own head only, also where the
    criterion would have answered by an ensemble.

    Returns:
        Exit index `[images]` (int64) and log-probabilities `[images, classes]`.
    """
    if threshold == NEVER:
        last = torch.full((len(logits),), logits.shape[1] - 1, dtype=torch.int64)
        temperature = torch.as_tensor(temperatures).tolist()[-1]
        return last.to(logits.device), log_probabilities(logits[:, -1], temperature)
    scores, answers = score_exits(logits, temperatures, criterion)
    exits = first_exits(scores, threshold)
    return exits, answers[torch.arange(len(exits), device=exits.device), exits]
