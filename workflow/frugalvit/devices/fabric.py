"""From a granted number of GPUs to devices, a precision and a thread count.

Only this module imports Fabric; others take it from here.
"""

import logging
import resource
import sys
from typing import Any, cast

import torch

from frugalvit.devices.gpus import claim

# To learn its version Fabric imports torchmetrics whole, with its audio, text and image packages:
# 2 seconds of every job. Only Fabric's loss-spike detector, unused here, depends on the answer.
_loaded = sys.modules.get("torchmetrics")
sys.modules["torchmetrics"] = None  # type: ignore[assignment]
from lightning_fabric import Fabric  # noqa: E402
from lightning_fabric.plugins.environments import LightningEnvironment  # noqa: E402
from lightning_fabric.strategies import DDPStrategy  # noqa: E402

del sys.modules["torchmetrics"]
if _loaded:
    sys.modules["torchmetrics"] = _loaded

log = logging.getLogger(__name__)


def make_fabric(
    gpus: int,
    threads: int,
    precision: str = "auto",
    *,
    asked: int | None = None,
    cpu_processes: int = 1,
) -> Fabric:
    """A Fabric on what the job was granted: CUDA, else Apple's MPS, else the CPU.

    With several GPUs, or CPU processes, it is to be used through `frugalvit.jobs.processes.launch`.

    Args:
        gpus: GPUs granted; 0 is the CPU mode.
        threads: CPU threads granted.
        precision: `auto`, or one of Fabric's; auto is bf16-mixed on CUDA devices that have it.
        asked: GPUs that the job asked for; a smaller grant is said in the log.
        cpu_processes: processes on the CPU where there is no GPU; no more than threads.
    """
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    accelerator, devices = _devices(gpus, threads, cpu_processes)
    count = devices if isinstance(devices, int) else len(devices)
    if asked and gpus and gpus < asked:
        log.warning(
            "asked for %d GPUs (compute.gpu), granted %d (--resources gpu=): going on with %d, on the "
            "same global batch", asked, gpus, gpus,
        )  # fmt: skip
    if isinstance(devices, list) and count == 1:  # of CUDA
        # Timers and questions about bf16 go to the current device.
        torch.cuda.set_device(devices[0])
    if precision == "auto":
        has_bf16 = accelerator == "cuda" and torch.cuda.is_bf16_supported()
        precision = "bf16-mixed" if has_bf16 else "32-true"
    strategy: str | DDPStrategy = "auto"
    if count > 1:
        log.info("%d processes share each batch", count)
        # Buffers that training changes are batch norm's, which trains in one process alone
        # (training.runs); sent at each call, all would have to ask for them equally often.
        strategy = DDPStrategy(start_method="spawn", broadcast_buffers=False)
    return Fabric(
        accelerator=accelerator,
        devices=devices,
        precision=cast(Any, precision),  # Fabric checks the word
        strategy=strategy,
        # A cluster's job is one task: its processes are ours to start, not srun's.
        plugins=[LightningEnvironment()],
    )


def training_fabric(granted: Any, threads: int, precision: str) -> Fabric:
    """`make_fabric` for a job that may train in several processes.

    Args:
        granted: the job's resources: `gpu`, `gpu_asked`, `cpu_processes`.
        threads: CPU threads granted.
        precision: as for `make_fabric`.
    """
    asked, processes = granted.gpu_asked, granted.cpu_processes
    return make_fabric(granted.gpu, threads, precision, asked=asked, cpu_processes=processes)


def loader_workers(fabric: Fabric, asked: int, threads: int) -> int:
    """How many of the granted threads are loader workers of each process; the others compute.

    A process that computes needs one for itself, so fewer workers than asked for may be left.

    Args:
        fabric: of the job.
        asked: workers of each process.
        threads: CPU threads granted.
    """
    processes = fabric.world_size
    workers = max(0, min(asked, threads // processes - 1))
    if workers < asked:
        log.warning(
            "compute.loader_workers: %d, granted %d CPU threads in all: going on with %d; "
            "compute.threads: %d has room for all",
            asked, threads, workers, (asked + 1) * processes,
        )  # fmt: skip
    torch.set_num_threads(max(1, threads - workers * processes))
    return workers


def _devices(gpus: int, threads: int, cpu_processes: int) -> tuple[str, int | list[int]]:
    """Fabric's names for the accelerator and for how many, or which, of it."""
    if gpus and torch.cuda.is_available():
        visible = torch.cuda.device_count()
        if visible < gpus:
            log.warning(
                "granted %d GPUs, found %d: going on with %d, on the same global batch",
                gpus, visible, visible,
            )  # fmt: skip
        return "cuda", claim(min(gpus, visible), visible)
    if gpus and torch.backends.mps.is_available():
        if gpus > 1:
            log.warning("granted %d GPUs, found 1: going on with 1, on the same global batch", gpus)
        return "mps", 1
    if gpus:
        log.info("no GPU found: running on the CPU with %d threads", threads)
    if cpu_processes > threads:
        log.warning(
            "compute.cpu_processes: %d, granted %d CPU threads: going on with %d processes, on the same "
            "global batch", cpu_processes, threads, threads,
        )  # fmt: skip
    return "cpu", min(cpu_processes, threads)


def precision_of(fabric: Fabric) -> str:
    """The precision that a fabric computes in, as Fabric names it: `32-true`, `bf16-mixed`."""
    return str(fabric.strategy.precision.precision)


def device_name(device: torch.device, processes: int = 1) -> str:
    """What a figure's reader should know of the device: `cpu (2 threads)` or the GPU's name.

    Args:
        device: of this process.
        processes: that share the work, each on a device of this kind.
    """
    if device.type == "cpu":
        threads = torch.get_num_threads()
        each = f"{threads} thread{'s' if threads > 1 else ''}"
        return f"cpu ({processes} processes, {each} each)" if processes > 1 else f"cpu ({each})"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return f"{processes} x {name}" if processes > 1 else name


def peak_memory_mb(device: torch.device) -> float:
    """Most memory used so far, in MB: of the GPU's allocator, else of the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    unit = 2**20 if sys.platform == "darwin" else 2**10  # ru_maxrss: bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
