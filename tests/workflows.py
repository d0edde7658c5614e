"""Running the workflow in a copy of the repository, as its users do."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
STUDY = "study.yaml"
TINY = ("--configfile", STUDY, "--cores", "2")
PARTS = ("Snakefile", "workflow", "config", "envs")


def copy_workflow(folder: Path) -> Path:
    """Copy what a clone holds, without results."""
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", ".snakemake", "*.egg-info")
            shutil.copytree(source, folder / part, ignore=ignored)
        else:
            shutil.copy(source, folder / part)
    return folder


def copy_tiny(folder: Path) -> Path:
    """A copy of the workflow with the tiny study as study.yaml."""
    copy_workflow(folder)
    shutil.copy(ROOT / "tests" / "studies" / "tiny.yaml", folder / STUDY)
    return folder


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "snakemake", *arguments]


def environment(folder: Path) -> dict[str, str]:
    """Without the mirror, and with a cache that no other Snakemake shares."""
    kept = {key: value for key, value in os.environ.items() if key != "FRUGALVIT_MIRROR"}
    return kept | {"XDG_CACHE_HOME": str(folder / ".cache")}


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(*arguments),
        cwd=folder, capture_output=True, text=True, env=environment(folder), check=False,
    )  # fmt: skip


def run(folder: Path, *arguments: str) -> str:
    """A finished run's words; the test fails with them where it did not succeed."""
    done = snakemake(folder, *arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def planned(folder: Path, *arguments: str) -> dict[str, int]:
    """Rule -> number of jobs that a call would run."""
    words = run(folder, "--dry-run", "--quiet", "rules", *arguments)
    stats = re.findall(r"(?m)^(\w+) +(\d+)$", words.split("Reasons")[0])
    return {rule: int(count) for rule, count in stats if rule not in ("total", "all", "figures")}


def edit(folder: Path, change: Callable[[dict], None]) -> None:
    """Change the study in place."""
    path = folder / STUDY
    study = yaml.safe_load(path.read_text())
    change(study)
    path.write_text(yaml.safe_dump(study, sort_keys=False))


def results_of(folder: Path) -> Path:
    """Results of the tiny study."""
    return folder / "results" / "tiny"
