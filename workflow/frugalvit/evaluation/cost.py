"""Tables of measured cost: their columns, and what else kept the machine busy meanwhile."""

import time

import psutil

COLUMNS = [
    "model", "batch_size", "gflops", "latency_ms", "latency_p95_ms", "images_per_s", "params_m",
    "peak_memory_mb", "device", "precision", "threads", "torch", "call_ms", "call_p95_ms", "calls",
    "spread", "busy_cores",
]  # fmt: skip
LARGE_BATCH = 128  # at which every model is timed too


class Bystanders:
    """Cores that other processes than this one keep busy, on average, since it was made."""

    def __init__(self) -> None:
        self._before = self._now()

    def cores(self) -> float:
        """Of the whole machine; 0 is an idle one."""
        seconds, busy, own = (now - then for now, then in zip(self._now(), self._before))
        return max(0.0, (busy - own) / max(seconds, 1e-9))

    @staticmethod
    def _now() -> tuple[float, float, float]:
        times = psutil.cpu_times()
        # What waits for a disk does not keep a core from others; guests are counted in `user`.
        idle = times.idle + getattr(times, "iowait", 0.0)
        guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
        own = psutil.Process().cpu_times()
        return time.monotonic(), sum(times) - idle - guests, own.user + own.system
