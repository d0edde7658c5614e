"""What a model costs in measured time and memory."""

import logging
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.benchmark import Timer

from frugalvit.devices.fabric import device_name, peak_memory_mb

log = logging.getLogger(__name__)

COLUMNS = [
    "model", "batch_size", "gflops", "latency_ms", "latency_p95_ms", "images_per_s", "params_m",
    "peak_memory_mb", "device", "precision", "threads", "torch", "call_ms", "call_p95_ms", "calls",
]  # fmt: skip
LARGE_BATCH = 128  # at which every model is timed too
FEWEST_CALLS = 10


@torch.inference_mode()
def measure(
    model: nn.Module,
    image_size: int,
    device: torch.device,
    batch_sizes: Sequence[int],
    threads: int,
    seconds: float = 1.0,
) -> list[dict[str, Any]]:
    """Measure time and memory of `model(images)` on random images, a row a batch size.

    Args:
        model: in evaluation mode, on `device`.
        image_size: side of the square images in px.
        device: where to measure.
        batch_sizes: images per call; 1 gives the latency.
        threads: CPU threads.
        seconds: shortest time over which each number is measured, warm-up apart.

    Returns:
        Rows of `batch_size`, `latency_ms` and `latency_p95_ms` (median and 95th percentile over
        single calls; at batch 1 only), `images_per_s` (at the median call), `params_m` (millions),
        `peak_memory_mb` (MiB: allocated on a CUDA device during this batch size; else the
        largest resident size of the whole process so far, Python and libraries included),
        `device`, `threads`, `torch`, and those of `call_times`.
    """
    generator = torch.Generator().manual_seed(0)
    params = sum(parameter.numel() for parameter in model.parameters())
    rows = []
    for batch_size in sorted(set(batch_sizes)):
        images = torch.randn(batch_size, 3, image_size, image_size, generator=generator).to(device)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        timer = Timer("model(x)", globals={"model": model, "x": images}, num_threads=threads)
        single = batch_size == 1
        times = _single_calls(timer, seconds) if single else _blocks(timer, seconds)
        median = float(np.median(times))
        rows.append(
            {
                "batch_size": batch_size,
                "latency_ms": median * 1e3 if single else None,
                "latency_p95_ms": float(np.quantile(times, 0.95)) * 1e3 if single else None,
                "images_per_s": batch_size / median,
                "params_m": params / 1e6,
                "peak_memory_mb": peak_memory_mb(device),
                "device": device_name(device),
                "threads": threads,
                "torch": torch.__version__,
                **call_times(times),
            }
        )
        log.info(
            "batch %d: %.2f ms a call (median of %d), %.1f images/s",
            batch_size,
            median * 1e3,
            len(times),
            batch_size / median,
        )
    return rows


def call_times(seconds: Sequence[float] | np.ndarray) -> dict[str, Any]:
    """`call_ms` and `call_p95_ms`, median and 95th percentile of a call, and `calls`, of how many."""
    return {
        "call_ms": float(np.median(seconds)) * 1e3,
        "call_p95_ms": float(np.quantile(seconds, 0.95)) * 1e3,
        "calls": np.size(seconds),
    }


def _single_calls(timer: Timer, seconds: float) -> list[float]:
    """Seconds of single calls, at least `FEWEST_CALLS` of them, each after two untimed ones.

    Averages over blocks, as `blocked_autorange` takes them, would hide the slow calls that the
    95th percentile is for.
    """
    timer.timeit(1)
    times: list[float] = []
    started = time.perf_counter()
    while len(times) < FEWEST_CALLS or time.perf_counter() - started < seconds:
        times.append(timer.timeit(1).median)
    return times


def _blocks(timer: Timer, seconds: float) -> list[float]:
    """Seconds a call, averaged over blocks of calls that together take `seconds`, after warm-up."""
    return timer.blocked_autorange(min_run_time=seconds).times
