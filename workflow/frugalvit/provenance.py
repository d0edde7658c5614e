"""What a result was made with: packages, Python, system, processor."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("torch", "torchvision", "lightning-fabric", "numpy", "scikit-learn", "pillow")


def environment() -> dict[str, str]:
    """Versions and machine that a result was made with: package, Python, system, processor."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        **versions,
        "python": platform.python_version(),
        "system": platform.system().lower(),
        "processor": processor_name(),
    }


def processor_name() -> str:
    """The CPU's model name where the system tells it, else its architecture."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
