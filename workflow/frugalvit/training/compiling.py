"""The network of a training step, compiled by torch where a compiler is.

Whole batches that train are computed by the compiled network; the last, smaller one and whatever is
validated by the network itself, for each other shape would be compiled anew.
"""

import logging
import time
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from frugalvit.errors import one_line

log = logging.getLogger(__name__)
# Dropout draws as it does without a compiler.
OPTIONS: dict[str, Any] = {"fallback_random": True}


class Compiled(nn.Module):
    """A network, and the same compiled for batches of one size; shares its weights."""

    def __init__(self, network: nn.Module, batch_size: int):
        super().__init__()
        self.network = network
        self.batch_size = batch_size
        self._compiled = torch.compile(network, dynamic=False, options=OPTIONS)

    def forward(self, given: Any) -> Any:
        """The network's outputs for images, features or a state."""
        whole = self.training and images_in(given) == self.batch_size
        return self._compiled(given) if whole else self.network(given)


def images_in(given: Any) -> int:
    """How many images a network was given: a tensor `[batch, ...]`, or a list of such."""
    return len(given if isinstance(given, Tensor) else given[0])


def compiled_where_possible(network: nn.Module, batch_size: int, device: torch.device) -> nn.Module:
    """A network that computes whole batches compiled; itself where there is no compiler.

    Args:
        network: that trains.
        batch_size: images that this process gets of a whole batch.
        device: where it will train.
    """
    problem = why_not(device.type)
    if problem:
        log.warning("compile: not compiled, for torch finds no working compiler (%s)", problem)
        return network
    log.info("compile: the first step compiles the network, which takes a while")
    return Compiled(network, batch_size)


@cache
def why_not(kind: str) -> str:
    """Why nothing can be compiled for a kind of device, in one line; empty where it can."""
    # Another number each time: what was compiled earlier, and lies in a cache, needs no compiler.
    added = time.time()

    def anything(values: Tensor) -> Tensor:
        return values.sin() + added

    try:
        torch.compile(anything, dynamic=False)(torch.ones(8, device=kind))
    except Exception as error:  # whatever torch, its backends and the system's compiler raise
        return one_line(str(error).strip().partition("\n")[0]) or type(error).__name__
    return ""
