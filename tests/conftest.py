"""Fixtures that several test files share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def mirror() -> Path:
    """Folder of real development data, named by FRUGALVIT_MIRROR."""
    folder = os.environ.get("FRUGALVIT_MIRROR")
    if not folder:
        pytest.skip("FRUGALVIT_MIRROR is unset: it names the folder with the real data")
    return Path(folder)
