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
from frugalvit.evaluation.cost import Bystanders
from frugalvit.jobs.progress import Progress

log = logging.getLogger(__name__)


@torch.inference_mode()
def measure_points(
    models: Mapping[Hashable, nn.Module],
    images: Tensor | Mapping[Hashable, Tensor],
    batch_sizes: Sequence[int],
    threads: int,
    seconds: float,
    device: torch.device,
) -> list[dict[str, Any]]:
    """Measure models on real images, taking turns batch by batch.

    A pass is every image once; the last batch is filled up from the first images, and fewer images
    than a batch are repeated. Moving images to the device and the first batch are not timed.

    Args:
        models: in evaluation mode, on `device`, by name: operating points, and the plain model.
        images: normalised, `[images, 3, side, side]`, in an order that does not sort by difficulty;
            by name where they are not the same for all, equally many for each.
        batch_sizes: images per call; 1 gives the latency.
        threads: CPU threads.
        seconds: shortest time over which each model is measured at each batch size; one pass is
            made in any case.
        device: where to measure.

    Returns:
        Rows, a model and batch size each, of `model, batch_size, latency_ms, latency_p95_ms`
        (median and 95th percentile over images and passes; batch 1 only), `images_per_s` (of the
        median pass), `params_m` (millions), `peak_memory_mb` (MiB allocated on a CUDA device; None
        elsewhere), `device`, `threads`, `torch`, `call_ms` and `call_p95_ms` (median and 95th
        percentile of a call), `calls` (of how many), `spread` (of the passes' times: from the first to
        the third quartile, as a share of the median), `busy_cores` (`cost.Bystanders`, meanwhile).
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    shown = dict(images) if isinstance(images, Mapping) else dict.fromkeys(models, images)
    rows = []
    try:
        for batch_size in sorted(set(batch_sizes)):
            rows += _measure_batch_size(models, shown, batch_size, seconds, device)
    finally:
        torch.set_num_threads(before)
    return rows


def _measure_batch_size(
    models: Mapping[Hashable, nn.Module],
    images: Mapping[Hashable, Tensor],
    batch_size: int,
    seconds: float,
    device: torch.device,
) -> list[dict[str, Any]]:
    count = min(map(len, images.values()))
    calls = -(-count // batch_size)
    batches = (torch.arange(calls * batch_size) % count).split(batch_size)
    times: dict[Hashable, list[list[float]]] = {name: [] for name in models}
    memory, totals = dict.fromkeys(models, 0.0), dict.fromkeys(models, 0.0)
    with Progress(f"first calls, batch {batch_size}", len(models), "models") as told:
        for name, model in models.items():
            _timed_call(model, images[name][batches[0]].to(device), device)
            told.advance(1)
    bystanders = Bystanders()
    seconds, done = max(seconds, 1e-9), 0
    whole = len(models) * _ms(seconds)
    with Progress(f"measure, batch {batch_size}", whole, "ms of all models") as told:
        while min(totals.values()) < seconds:
            for passes in times.values():
                passes.append([])
            for turn, positions in enumerate(batches):
                for name in _rotated(list(models), turn):
                    batch = images[name][positions].to(device)
                    if device.type == "cuda":
                        torch.cuda.reset_peak_memory_stats(device)
                    call = _timed_call(models[name], batch, device)
                    times[name][-1].append(call)
                    totals[name] += call
                    memory[name] = max(memory[name], peak_memory_mb(device))
                    now = sum(_ms(min(total, seconds)) for total in totals.values())
                    told.advance(now - done)
                    done = now
    busy = bystanders.cores()
    return [
        _row(name, models[name], batch_size, np.array(passes), memory[name], device, busy)
        for name, passes in times.items()
    ]


def _ms(seconds: float) -> int:
    return round(seconds * 1e3)


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
    busy_cores: float,
) -> dict[str, Any]:
    """`times`: seconds `[passes, calls]`."""
    single = batch_size == 1
    early, middle, late = np.quantile(times.sum(axis=1), [0.25, 0.5, 0.75])
    row: dict[str, Any] = {
        "model": name,
        "batch_size": batch_size,
        "latency_ms": float(np.median(times)) * 1e3 if single else None,
        "latency_p95_ms": float(np.quantile(times, 0.95)) * 1e3 if single else None,
        "images_per_s": float(times.shape[1] * batch_size / middle),
        "params_m": sum(parameter.numel() for parameter in model.parameters()) / 1e6,
        "peak_memory_mb": memory if device.type == "cuda" else None,
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "call_ms": float(np.median(times)) * 1e3,
        "call_p95_ms": float(np.quantile(times, 0.95)) * 1e3,
        "calls": times.size,
        "spread": float((late - early) / middle),
        "busy_cores": busy_cores,
    }
    log.info(
        "%s, batch %d: %.1f images/s (%d passes)",
        " ".join(map(str, name)) if isinstance(name, tuple) else name,
        batch_size,
        row["images_per_s"],
        len(times),
    )
    return row
