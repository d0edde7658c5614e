"""Exponential moving average of a model's weights: what is validated and kept in their place.

Polyak and Juditsky 1992; as Tarvainen and Valpola 2017 use it, with a memory that grows at first.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Averaged:
    """The average of everything in a model's state; numbers that are no fractions are the last ones."""

    def __init__(self, model: nn.Module, decay: float):
        self.model, self.decay, self.steps = model, decay, 0
        self.values = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step: `average += (1 - d) * (weights - average)`."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        averages, weights = [], []
        for name, value in self.model.state_dict().items():
            if value.is_floating_point():
                averages.append(self.values[name])
                weights.append(value)
            else:
                self.values[name].copy_(value)
        torch._foreach_lerp_(averages, weights, 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model has the averaged weights inside the block, and its own again after it."""
        own = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        self.model.load_state_dict(self.values)
        yield
        self.model.load_state_dict(own)

    def state(self) -> dict[str, Tensor | int]:
        """For the checkpoint."""
        return {"steps": self.steps, **{name: value.cpu() for name, value in self.values.items()}}

    def load(self, state: dict[str, Tensor | int]) -> None:
        """Go on from a checkpoint's state."""
        self.steps = int(state["steps"])
        for name, value in self.values.items():
            value.copy_(torch.as_tensor(state[name]))
