"""Adding a source of images touches one file and one line of the registry."""

import filecmp
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workflows import PARTS, ROOT, TINY, copy_tiny, edit, planned, run, snakemake

SOURCES = Path("workflow", "frugalvit", "data", "sources")
FILE, REGISTRY = SOURCES / "stripes.py", SOURCES / "all_sources.py"
MODULE = '''
"""A toy: images of one grey a class, brighter from image to image."""

from pathlib import Path
from typing import Any

from frugalvit.data.items import SPLITS, Item, Listing
from frugalvit.data.sources.source import Dataset, Listed, Source
from frugalvit.errors import ConfigError
from frugalvit.files import sha256_file

CLASSES = ("dark", "bright")
SIDE = 24


def fetch(dataset: Dataset, raw: Path, mirror: Path | None) -> dict[str, Any]:
    """Every class's grey."""
    raw.mkdir(parents=True, exist_ok=True)
    (raw / "greys.txt").write_text("50 200")
    return {"files": [{"file": "greys.txt", "sha256": sha256_file(raw / "greys.txt")}]}


def list_stripes(dataset: Dataset, raw: Path) -> Listed:
    """Forty images a class to train on, twenty to validate and to test on."""
    import numpy as np

    greys = [int(grey) for grey in (raw / "greys.txt").read_text().split()]
    counts = dict(zip(SPLITS, (40, 20, 20), strict=True))
    items = [
        Item(f"{split}/{key}-{row:02d}", split, key, np.full((SIDE, SIDE, 3), grey + row, "uint8"))
        for split in SPLITS
        for key, grey in zip(CLASSES, greys, strict=True)
        for row in range(counts[split])
    ]
    return Listed(Listing(items, {key: key for key in CLASSES}), [])


def check(dataset: Dataset, key: str, mirror: str | None) -> None:
    """It is made at its final size, of nothing."""
    if dataset["path"]:
        raise ConfigError(f"{key}.path: stripes are made of nothing; leave it out")
    dataset["resize"] = dataset["crop"] = SIDE


SOURCE = Source(fetch=fetch, list=list_stripes, check=check)
'''
CHECK = """
import json
from pathlib import Path

import frugalvit
from frugalvit.config.schema import read_yaml
from frugalvit.config.study import load_study
from frugalvit.data.prepare import prepare
from frugalvit.data.sources.listing import download, list_items

dataset = load_study(read_yaml("study.yaml")).datasets["stripes"]
raw = Path("raw")
marker = download(dataset, raw)
print(json.dumps({
    "library": frugalvit.__file__,
    "crop": dataset["crop"],
    "marker": marker["source"],
    "files": [entry["file"] for entry in marker["files"]],
    "listed": len(list_items(dataset, raw).items),
    "report": prepare(dataset, raw, "store"),
}))
"""
DIGESTS = """
from frugalvit.data.sources.all_sources import module_of
from frugalvit.jobs.digest import script_digest

for script in ("download_dataset", "prepare_dataset", "check_splits", "extract_features"):
    print(script, script_digest(script, [module_of("digits")]))
"""


def add_source(folder: Path) -> None:
    """What somebody does who adds a source."""
    (folder / FILE).write_text(MODULE.lstrip())
    registry = folder / REGISTRY
    text = registry.read_text()
    assert text.count('    "archive",\n') == 1
    registry.write_text(text.replace('    "archive",\n', '    "archive",\n    "stripes",\n'))


def differing(folder: Path) -> set[Path]:
    """Files of a copy that are not those of the repository."""
    files = {
        path.relative_to(folder)
        for part in PARTS
        for path in ([folder / part] if (folder / part).is_file() else (folder / part).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    return {
        name
        for name in files
        if not (ROOT / name).is_file() or not filecmp.cmp(folder / name, ROOT / name, shallow=False)
    }


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


def python(folder: Path, code: str) -> str:
    """Words of Python over a copy's library."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(folder / "workflow")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_source_is_a_file_and_a_line(folder):
    assert differing(folder) == {FILE, REGISTRY}
    old, new = ((root / REGISTRY).read_text().splitlines() for root in (ROOT, folder))
    assert len(new) == len(old) + 1
    told = json.loads(python(folder, CHECK))
    assert Path(told["library"]).is_relative_to(folder)
    assert (told["crop"], told["marker"]) == (24, "stripes")
    assert told["files"] == ["greys.txt"]
    assert told["listed"] == 160
    assert told["report"]["images"] == {"train": 80, "valid": 40, "test": 40}
    assert told["report"]["class_names"] == ["dark", "bright"]
    assert differing(folder) == {FILE, REGISTRY}


def test_the_datasets_that_there_are_do_not_rerun_for_it(folder):
    assert python(folder, DIGESTS) == python(ROOT, DIGESTS)


@pytest.mark.workflow
def test_rules_run_it_and_follow_its_file_alone(folder):
    store = "data/stripes/store/index.csv"
    run(folder, *TINY, store)
    assert json.loads((folder / "data/stripes/raw/.complete").read_text())["source"] == "stripes"
    assert planned(folder, *TINY, store) == {}
    other, own = folder / SOURCES / "digits.py", folder / FILE
    other.write_text(other.read_text().replace("range(10)", "range(0, 10)"))
    assert planned(folder, *TINY, store) == {}
    own.write_text(own.read_text().replace("50 200", "60 210"))
    assert planned(folder, *TINY, store) == {"download_dataset": 1, "prepare_dataset": 1}


@pytest.mark.workflow
def test_what_it_refuses_is_one_line_with_the_key(folder):
    edit(folder, lambda study: study["dataset"].update(path="images"))
    done = snakemake(folder, *TINY, "--dry-run")
    assert done.returncode != 0
    words = done.stdout + done.stderr
    assert "dataset.path: stripes are made of nothing; leave it out" in words
    assert "Traceback" not in words
