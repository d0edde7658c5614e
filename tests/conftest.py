"""Fixtures that several test files share."""

import os
import shutil
from pathlib import Path

import pytest

from tests.properties import register_profiles
from tests.small_study import make_study
from tests.workflows import copy_tiny, run

register_profiles()  # before test files ask for examples; --hypothesis-profile counts after it


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
    """The tiny study, run once from nothing; no test may change it."""
    folder = copy_tiny(tmp_path_factory.mktemp("finished"))
    run(folder, "--configfile", "study.yaml", "--cores", "2", "--resources", "gpu=0")
    return folder


@pytest.fixture
def copied(finished, tmp_path) -> Path:
    """A copy of the finished study that a test may change, with all dates kept."""
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder, symlinks=True)
    return folder
