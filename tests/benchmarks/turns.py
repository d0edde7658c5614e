"""Calls that take turns in one process, so that whatever slows the machine slows them all.

On a CPU the process's own time counts: with one thread it is the clock's on an idle machine, and on a
busy one leaves out when others had the core.
"""

import time
from collections.abc import Callable, Mapping
from itertools import permutations
from typing import Any

import numpy as np
import torch


def seconds_of(call: Callable[[], Any], device: torch.device) -> float:
    """Seconds that one call takes, what it left running on a GPU included."""
    if device.type != "cuda":
        started = time.process_time()
        call()
        return time.process_time() - started
    torch.cuda.synchronize(device)
    started = time.perf_counter()
    call()
    torch.cuda.synchronize(device)
    return time.perf_counter() - started


def take_turns(
    calls: Mapping[str, Callable[[], Any]], device: torch.device, seconds: float
) -> dict[str, np.ndarray]:
    """Seconds of each call in each turn, `[turns]`, after one untimed turn.

    Args:
        calls: by name. The turns go through all orders: what one call leaves in caches and memory is
            met by each of the others equally often.
        device: where they compute.
        seconds: shortest time over which all take turns, by the clock; each order comes once in any
            case.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    started, first = time.perf_counter(), True
    while first or time.perf_counter() - started < seconds:
        first = False
        for order in permutations(calls):
            for name in order:
                times[name].append(seconds_of(calls[name], device))
    return {name: np.array(each) for name, each in times.items()}


def ratio(times: np.ndarray, others: np.ndarray) -> str:
    """Median of the ratios of each turn, and between which values their middle half lies."""
    low, median, high = np.quantile(times / others, (0.25, 0.5, 0.75))
    return f"{median:.3f} ({low:.3f} to {high:.3f})"
