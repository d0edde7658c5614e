"""`frugalvit new`: what it sees of a folder, and the study that it writes."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from frugalvit.cli.main import frugalvit
from frugalvit.cli.new_study import TEMPLATE
from frugalvit.config.reading import read_yaml
from frugalvit.config.study import load_study
from frugalvit.data.prepare import prepare
from frugalvit.data.splits import assign
from frugalvit.data.store import Store
from frugalvit.errors import ConfigError, DataError
from tests.imagefolders import write_folder
from tests.workflows import ROOT


@pytest.fixture
def clone(tmp_path, monkeypatch) -> Path:
    """A folder that holds what the command reads of a clone."""
    (tmp_path / TEMPLATE).parent.mkdir(parents=True)
    shutil.copy(ROOT / TEMPLATE, tmp_path / TEMPLATE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*words: str) -> Result:
    return CliRunner().invoke(frugalvit, ["new", *words])


def test_the_study_is_the_shipped_one_with_the_folder_filled_in(clone):
    write_folder(clone / "photos: mine", {"rote Rose": 14, "lotus": 13, "Gänse": 13})
    done = call("mine", "--images", "photos: mine")
    assert done.exit_code == 0, (done.output, done.exception)
    path = clone / "config" / "studies" / "mine.yaml"
    shipped, study = read_yaml(ROOT / TEMPLATE), read_yaml(path)
    changed = {
        "study": "mine",
        "dataset": {"name": "mine", "source": "folder", "path": "photos: mine"},
    }
    assert study == shipped | changed
    assert "# Downloads 346 MB" in path.read_text(), "its comments are kept"
    assert path.read_text().startswith(
        "# 40 images in 3 classes: rote Rose 14, Gänse 13, lotus 13\n"
    )
    for words in ("sides of 20 to 24 px", "splits: 24 train, 6 valid, 10 test", "one is 10 points"):
        assert words in done.output


def test_it_counts_what_the_workflow_then_finds(clone):
    """Bad files, and the same image twice, are known before anything is prepared."""
    photos = write_folder(clone / "photos", {"a": 12, "b": 12})
    (photos / "a" / "bad.png").write_bytes(b"no image")
    shutil.copy(photos / "a" / "image_00.png", photos / "b" / "copy.png")
    done = call("mine", "--images", str(photos), "--json")
    assert done.exit_code == 1, "a file is bad"
    told = json.loads(done.output)
    assert told["classes"] == {"a": 12, "b": 13}
    assert [bad["file"] for bad in told["bad"]] == ["a/bad.png"]
    assert any("byte-identical images have different labels" in line for line in told["warnings"])
    study = load_study(read_yaml(told["study"]))
    prepare(study.datasets[study.dataset], clone / "raw", clone / "store")
    divided = assign(Store(clone / "store").index, study.split_sets["splits"])
    counts = divided["split"].value_counts()
    assert told["splits"] == {split: counts[split] for split in ("train", "valid", "test")}


def test_folders_of_splits_are_taken_as_they_are(clone):
    splits = {"train/a": 8, "train/b": 8, "test/a": 3, "test/b": 4}
    assert "7 test" in call("two", "--images", str(write_folder(clone / "two", splits))).output
    splits |= {"val/a": 2, "val/b": 3}
    photos = write_folder(clone / "photos", splits)
    done = call("mine", "--images", str(photos))
    assert done.exit_code == 0, (done.output, done.exception)
    study = yaml.safe_load((clone / "config/studies/mine.yaml").read_text())
    assert study["splits"] == {"mode": "official"}
    assert "16 train, 5 valid, 7 test" in done.output


def test_nothing_is_overwritten_and_mistakes_are_told(clone):
    photos = write_folder(clone / "photos", {"a": 12, "b": 12})
    (clone / "config/studies/mine.yaml").write_text("a user's")
    for words, kind, said in (
        (("mine", "--images", str(photos)), ConfigError, "mine.yaml: is there already"),
        (("My study", "--images", str(photos)), ConfigError, "small letters, digits and _"),
        (("other", "--images", str(clone / "config")), DataError, "no images found"),
    ):
        done = call(*words)
        assert isinstance(done.exception, kind), done.exception
        assert said in str(done.exception)
    assert call("other", "--images", "nowhere").exit_code == 2
    assert sorted(path.name for path in (clone / "config/studies").iterdir()) == [
        "mine.yaml",
        "your_images.yaml",
    ]
