"""Running the workflow in a copy of the repository, as its users do."""

import difflib
import filecmp
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import yaml

from tests import warm

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


def differing(folder: Path) -> set[str]:
    """Files of a copy that are not the repository's; the study itself is not looked at."""
    found = set()
    for part in PARTS:
        files = [folder / part] if (folder / part).is_file() else (folder / part).rglob("*")
        for path in files:
            name = path.relative_to(folder)
            if path.is_file() and "__pycache__" not in name.parts and changed(path, ROOT / name):
                found.add(name.as_posix())
    return found


def changed(path: Path, known: Path) -> bool:
    """Whether a file is new or not as it was."""
    return not known.is_file() or not filecmp.cmp(path, known, shallow=False)


def lines_added(folder: Path, name: str) -> list[str]:
    """What stands in a file of a copy and not in the repository's; the test fails if a line went."""
    old, new = ((root / name).read_text().splitlines() for root in (ROOT, folder))
    words = [line for line in difflib.ndiff(old, new) if line[:2] in ("+ ", "- ")]
    assert not [line for line in words if line.startswith("- ")], words
    return [line[2:].strip() for line in words]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "snakemake", *arguments]


def environment(folder: Path) -> dict[str, str]:
    """Without the mirror, and with a cache that no other Snakemake shares."""
    kept = {key: value for key, value in os.environ.items() if key != "FRUGALVIT_MIRROR"}
    return kept | {"XDG_CACHE_HOME": str(folder / ".cache")}


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        warm.python("-m", "snakemake", *arguments),
        cwd=folder, capture_output=True, text=True, check=False,
        env=environment(folder) | warm.variables(),
    )  # fmt: skip


def run(folder: Path, *arguments: str) -> str:
    """A finished run's words; the test fails with them where it did not succeed."""
    done = snakemake(folder, *arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def refused(folder: Path, *arguments: str) -> str:
    """Words of a run that does not start; the test fails where it does, or shows a traceback."""
    done = snakemake(folder, "--dry-run", *arguments)
    words = done.stdout + done.stderr
    assert done.returncode != 0
    assert "Traceback" not in words, words
    return words


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
