"""From a granted number of GPUs to a device, a precision and a thread count.

Fabric is imported here alone; other modules take it from here.
"""

import logging
import resource
import sys

import torch

# To learn its version Fabric imports torchmetrics whole, with its audio, text and image packages:
# 2 seconds of every job. Only Fabric's loss-spike detector, unused here, depends on the answer.
_loaded = sys.modules.get("torchmetrics")
sys.modules["torchmetrics"] = None  # type: ignore[assignment]
from lightning_fabric import Fabric  # noqa: E402

del sys.modules["torchmetrics"]
if _loaded:
    sys.modules["torchmetrics"] = _loaded

log = logging.getLogger(__name__)


def make_fabric(gpus: int, threads: int, precision: str = "auto") -> Fabric:
    """A single-process Fabric on what the job was granted: CUDA, else Apple's MPS, else the CPU.

    Args:
        gpus: GPUs granted; 0 is the CPU mode.
        threads: CPU threads granted.
        precision: `auto`, or one of Fabric's; auto is bf16-mixed on CUDA devices that have it.
    """
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    accelerator = "cpu"
    if gpus:
        if torch.cuda.is_available():
            accelerator = "cuda"
        elif torch.backends.mps.is_available():
            accelerator = "mps"
        else:
            log.info("no GPU found: running on the CPU with %d threads", threads)
    if precision == "auto":
        has_bf16 = accelerator == "cuda" and torch.cuda.is_bf16_supported()
        precision = "bf16-mixed" if has_bf16 else "32-true"
    return Fabric(accelerator=accelerator, devices=1, precision=precision)


def device_name(device: torch.device) -> str:
    """What a figure's reader should know of the device: `cpu (2 threads)` or the GPU's name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        threads = torch.get_num_threads()
        return f"cpu ({threads} thread{'s' if threads > 1 else ''})"
    return device.type


def peak_memory_mb(device: torch.device) -> float:
    """Most memory used so far, in MB: of the GPU's allocator, else of the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    unit = 2**20 if sys.platform == "darwin" else 2**10  # ru_maxrss: bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
