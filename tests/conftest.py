"""Fixtures that several test files share, and the order in which files are run."""

import fcntl
import os
import shutil
from pathlib import Path

import pytest

from tests.properties import register_profiles
from tests.small_study import make_study
from tests.workflows import copy_tiny, run

register_profiles()  # before test files ask for examples; --hypothesis-profile counts after it

# Files that take half a minute and more, the longest first: begun last, one of them would run alone. The
# third makes the finished study, which others wait for.
LONGEST = (
    "slurm/test_slurm.py", "test_chaos.py", "test_workflow.py", "test_killed.py",
    "test_data_parallel.py", "test_reruns.py", "test_digits_base.py", "test_your_images.py",
    "test_report.py", "test_exit_figures.py", "test_exiting.py", "test_new_method.py",
    "test_faulty_folders.py", "test_scratch_workflow.py", "test_export.py", "test_estimate.py",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    """Long files first; the others in their order."""
    tests = Path(__file__).parent
    place = {tests / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


@pytest.fixture(scope="session")
def mirror() -> Path:
    """Folder of real development data, named by FRUGALVIT_MIRROR."""
    folder = os.environ.get("FRUGALVIT_MIRROR")
    if not folder:
        pytest.skip("FRUGALVIT_MIRROR is unset: it names the folder with the real data")
    return Path(folder)


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> Path:
    """A tiny study's store, splits, base and cached features; no test may change them."""
    return make_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """The tiny study, run once from nothing for all of pytest's processes; no test may change it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    made = shared / "finished"
    with (shared / "finished.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            folder = copy_tiny(tmp_path_factory.mktemp("running"))
            run(folder, "--configfile", "study.yaml", "--cores", "2", "--resources", "gpu=0")
            folder.rename(made)
    # A copy for each process: Snakemake writes into the folder even where it only looks.
    return copy_dated(made, tmp_path_factory.mktemp("finished"))


@pytest.fixture
def copied(finished, tmp_path) -> Path:
    """A copy of the finished study that a test may change."""
    return copy_dated(finished, tmp_path / "copy")


def copy_dated(folder: Path, copy: Path) -> Path:
    """Copy a study with all dates, by which Snakemake knows what is new."""
    return shutil.copytree(folder, copy, symlinks=True, dirs_exist_ok=True)
