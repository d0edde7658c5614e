"""docs/architecture.md, "Add a dataset", followed literally: one file, one line of the registry."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.workflows import (
    ROOT,
    TINY,
    copy_tiny,
    differing,
    edit,
    lines_added,
    planned,
    refused,
    run,
)

SOURCES = "workflow/frugalvit/data/sources"
FILE, REGISTRY = f"{SOURCES}/stripes.py", f"{SOURCES}/all_sources.py"
STORE = "data/stripes/store/index.csv"
DIGESTS = """
from frugalvit.data.sources.all_sources import module_of
from frugalvit.jobs.digest import script_digest

for script in ("download_dataset", "prepare_dataset", "check_splits", "extract_features"):
    print(script, script_digest(script, [module_of("digits")]))
"""
pytestmark = pytest.mark.workflow


def add_source(folder: Path) -> None:
    """What somebody does who adds a source."""
    shutil.copy(ROOT / "tests" / "toys" / "stripes.py", folder / FILE)
    registry = folder / REGISTRY
    text = registry.read_text()
    registry.write_text(text.replace('    "archive",\n', '    "archive",\n    "stripes",\n'))


def use_stripes(study: dict) -> None:
    study["dataset"] = {"source": "stripes"}
    study["experiments"] = {"frozen": study["experiments"]["frozen"]}


@pytest.fixture
def folder(tmp_path) -> Path:
    """A copy of the workflow with the toy in it, and in its study."""
    copy = copy_tiny(tmp_path)
    add_source(copy)
    edit(copy, use_stripes)
    return copy


def digests(root: Path) -> str:
    """Of what runs the digits' source."""
    environment = os.environ | {"PYTHONPATH": str(root / "workflow")}
    return subprocess.check_output(
        [sys.executable, "-c", DIGESTS], cwd=root, env=environment, text=True
    )


def test_a_source_is_a_file_and_a_line(folder):
    assert differing(folder) == {FILE, REGISTRY}
    assert lines_added(folder, REGISTRY) == ['"stripes",']
    assert digests(folder) == digests(ROOT), "no other dataset is made anew for it"
    jobs = planned(folder, *TINY)
    # And images, splits, features, two seeds: the whole study.
    assert jobs["download_dataset"] == jobs["prepare_dataset"] == jobs["check_splits"] == 1
    assert jobs["train_run"] == 2
    assert jobs["evaluate_fine_tune_s0"] == jobs["evaluate_fine_tune_s1"] == 1
    run(folder, *TINY, STORE)
    marker = json.loads((folder / "data/stripes/raw/.complete").read_text())
    assert marker["source"] == "stripes"
    index = pd.read_csv(folder / STORE)
    counts = index.groupby(["split", "class_name"]).size()
    assert counts["train"].to_dict() == {"across": 24, "down": 24, "slanted": 24}
    assert counts["valid"].sum() == counts["test"].sum() == 36
    assert index["sha256"].is_unique
    images = np.load(folder / STORE.replace("index.csv", "train.npy"))
    assert (images.shape, images.dtype) == ((72, 24, 24, 3), np.uint8)
    across = images[(index.loc[index["split"] == "train", "class_name"] == "across").to_numpy()]
    assert across.std(axis=2).mean() < across.std(axis=1).mean() / 2, "rows are even, columns not"


def test_an_edit_of_its_file_makes_its_images_anew_and_no_other_file_does(folder):
    run(folder, *TINY, STORE)
    assert planned(folder, *TINY, STORE) == {}
    other, own = folder / SOURCES / "digits.py", folder / FILE
    other.write_text(other.read_text().replace("range(10)", "range(0, 10)"))
    assert planned(folder, *TINY, STORE) == {}
    own.write_text(own.read_text().replace("WIDTH = 3", "WIDTH = 4"))
    assert planned(folder, *TINY, STORE) == {"download_dataset": 1, "prepare_dataset": 1}


def test_mistakes_are_one_line(folder):
    edit(folder, lambda study: study["dataset"].update(path="images"))
    assert "dataset.path: stripes are drawn here; leave it out" in refused(folder, *TINY)
    edit(folder, lambda study: study["dataset"].update(source="strips", path=None))
    words = refused(folder, *TINY)
    line = next(line for line in words.splitlines() if "dataset.source" in line)
    assert "'strips' is unknown; use one of: digits, " in line
    assert ", archive, stripes (line " in line
