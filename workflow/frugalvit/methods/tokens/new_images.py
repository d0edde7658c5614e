"""What models that reduce tokens say of new images."""

from typing import Any

from torch import nn

from frugalvit.methods.method import Answered, Answering
from frugalvit.methods.tokens.answers import Leaving


def reading(model: nn.Module, columns: tuple[str, ...] = ()) -> Answering:
    """The model of an operating point; with `depth` the mean over an image's tokens, in blocks."""
    assert isinstance(model, Leaving)

    def read(outputs: Any) -> Answered:
        answers = model.as_answers(outputs)
        if answers.depths is None:
            return Answered(answers.logits, {})
        depth = answers.depths.double().mean(dim=1).round(decimals=4)
        return Answered(answers.logits, {"depth": depth.tolist()}, depths=answers.depths)

    return Answering(model, read, columns)
