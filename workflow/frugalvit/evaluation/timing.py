"""Measured time on real images, models taking turns.

How long an adaptive model takes depends on the images, so these measurements take real ones, and
the models to compare take turns in one process: a machine that slows down slows all of them.
"""

import logging
import time
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from frugalvit.devices.fabric import device_name, peak_memory_mb
from frugalvit.evaluation.cost import call_times

log = logging.getLogger(__name__)


@torch.inference_mode()
def measure_points(
    models: Mapping[Hashable, nn.Module],
    images: Tensor,
    batch_sizes: Sequence[int],
    threads: int,
    seconds: float,
    device: torch.device,
) -> list[dict[str, Any]]:
    """Measure models on the same real images, taking turns batch by batch.

    A pass is every image once; the last batch is filled up from the first images, and fewer images
    than a batch are repeated. Moving images to the device and the first batch are not timed.

    Args:
        models: in evaluation mode, on `device`, by name: operating points, and the plain model.
        images: normalised, `[images, 3, side, side]`, in an order that does not sort by difficulty.
        batch_sizes: images per call; 1 gives the latency.
        threads: CPU threads.
        seconds: shortest time over which each model is measured at each batch size; one pass is
            made in any case.
        device: where to measure.

    Returns:
        Rows, a model and batch size each, of `model, batch_size, latency_ms, latency_p95_ms`
        (median and 95th percentile over images and passes; batch 1 only), `images_per_s` (of the
        median pass), `params_m` (millions), `peak_memory_mb` (as in `cost.measure`), `device`,
        `threads`, `torch`, and those of `cost.call_times`.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return [
            row
            for batch_size in sorted(set(batch_sizes))
            for row in _measure_batch_size(models, images, batch_size, seconds, device)
        ]
    finally:
        torch.set_num_threads(before)


def _measure_batch_size(
    models: Mapping[Hashable, nn.Module],
    images: Tensor,
    batch_size: int,
    seconds: float,
    device: torch.device,
) -> list[dict[str, Any]]:
    calls = -(-len(images) // batch_size)
    order = torch.arange(calls * batch_size) % len(images)
    batches = order.split(batch_size)
    times: dict[Hashable, list[list[float]]] = {name: [] for name in models}
    memory = dict.fromkeys(models, 0.0)
    for model in models.values():
        _timed_call(model, images[batches[0]].to(device), device)
    while min(sum(map(sum, passes)) for passes in times.values()) < max(seconds, 1e-9):
        for passes in times.values():
            passes.append([])
        for turn, positions in enumerate(batches):
            batch = images[positions].to(device)
            for name in _rotated(list(models), turn):
                if device.type == "cuda":
                    torch.cuda.reset_peak_memory_stats(device)
                times[name][-1].append(_timed_call(models[name], batch, device))
                memory[name] = max(memory[name], peak_memory_mb(device))
    return [
        _row(name, models[name], batch_size, np.array(passes), memory[name], device)
        for name, passes in times.items()
    ]


def _rotated(names: list[Hashable], turns: int) -> list[Hashable]:
    """No model always runs behind the same other, whose leavings in the caches it would meet."""
    start = turns % len(names)
    return names[start:] + names[:start]


def _timed_call(model: nn.Module, batch: Tensor, device: torch.device) -> float:
    _synchronize(device)
    started = time.perf_counter()
    model(batch)
    _synchronize(device)
    return time.perf_counter() - started


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _row(
    name: Hashable,
    model: nn.Module,
    batch_size: int,
    times: np.ndarray,
    memory: float,
    device: torch.device,
) -> dict[str, Any]:
    """`times`: seconds `[passes, calls]`."""
    single = batch_size == 1
    pass_seconds = float(np.median(times.sum(axis=1)))
    row: dict[str, Any] = {
        "model": name,
        "batch_size": batch_size,
        "latency_ms": float(np.median(times)) * 1e3 if single else None,
        "latency_p95_ms": float(np.quantile(times, 0.95)) * 1e3 if single else None,
        "images_per_s": times.shape[1] * batch_size / pass_seconds,
        "params_m": sum(parameter.numel() for parameter in model.parameters()) / 1e6,
        "peak_memory_mb": memory,
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        **call_times(times),
    }
    log.info(
        "%s, batch %d: %.1f images/s (%d passes)",
        " ".join(map(str, name)) if isinstance(name, tuple) else name,
        batch_size,
        row["images_per_s"],
        len(times),
    )
    return row
