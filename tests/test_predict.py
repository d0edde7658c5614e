"""`frugalvit predict`: a run's folder alone answers photos as the workflow answered its images."""

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from frugalvit.cli.main import frugalvit
from frugalvit.data.arrays import Square
from frugalvit.data.photos import Photos
from frugalvit.data.prepare import prepare
from frugalvit.data.store import Store
from frugalvit.data.views import to_tensor
from frugalvit.errors import ConfigError, DataError
from frugalvit.files import read_json, write_json
from tests.imagefolders import settings, write_folder, write_image
from tests.workflows import ROOT, results_of

HOW = ("--device", "cpu", "--workers", "0")


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(frugalvit, [str(word) for word in words])


def rows_of(result: Result) -> pd.DataFrame:
    assert result.exit_code == 0, (result.output, result.exception)
    return pd.read_csv(io.StringIO(result.stdout))


@pytest.fixture(scope="module")
def photos(finished, tmp_path_factory):
    """The test images of the finished study as files, named by their ids."""
    folder = tmp_path_factory.mktemp("photos")
    store = Store(finished / "data" / "digits" / "store")
    for name, pixels in zip(store.ids("test"), store.images("test")):
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def alone(finished, tmp_path_factory):
    """Folders of runs, with nothing of their study beside them."""
    folder = tmp_path_factory.mktemp("alone")
    for run in ("frozen-s0", "early-s0", "halting-s0", "boxes-s0", "merged-s0", "pruned-s0"):
        shutil.copytree(results_of(finished) / "runs" / run, folder / run)
    return folder


def expected(folder: Path) -> pd.DataFrame:
    """What the workflow wrote of the test images, in the order of their names."""
    table = pd.read_csv(folder / "predictions.csv")
    return table[table["split"] == "test"].sort_values("id").reset_index(drop=True)


@pytest.mark.workflow
@pytest.mark.parametrize(
    ("run", "more"),
    [
        ("frozen-s0", []),
        ("early-s0", ["exit"]),
        ("halting-s0", ["depth"]),
        ("merged-s0", []),
        ("pruned-s0", []),
        ("boxes-s0", ["x0", "y0", "x1", "y1"]),
    ],
)
def test_a_runs_folder_answers_as_the_workflow_did(alone, photos, run, more):
    found = rows_of(
        call("predict", alone / run, photos, "--format", "csv", "--batch-size", 7, *HOW)
    )
    known = expected(alone / run)
    assert list(found.columns) == ["file", "class", "probability", *more, "ms"]
    assert [Path(file).stem for file in found["file"]] == known["id"].tolist()
    names = read_json(alone / run / "card.json")["classes"]
    assert found["class"].astype(str).tolist() == [names[label] for label in known["predicted"]]
    # Both are rounded to six places.
    assert np.abs(found["probability"] - known["probability"]).max() <= 1.01e-6
    for column in more:
        scale = 24 if column in ("x0", "y0", "x1", "y1") else 1  # px of these photos
        assert np.abs(found[column] - known[column] * scale).max() <= 0.051, column
    assert (found["ms"] > 0).all()


@pytest.mark.workflow
def test_a_point_is_asked_for_by_its_name(alone, photos):
    run, image = alone / "early-s0", photos / "test-000000.png"
    full = rows_of(call("predict", run, image, "--point", "full", "--format", "csv", *HOW))
    assert full["exit"].tolist() == [3]
    budget = rows_of(call("predict", run, image, "--budget", ".7", "--format", "csv", *HOW))
    named = rows_of(call("predict", run, image, "--point", "budget 0.7", "--format", "csv", *HOW))
    pd.testing.assert_frame_equal(budget.drop(columns="ms"), named.drop(columns="ms"))
    other = call("predict", run, image, "--budget", "0.6", *HOW)
    assert isinstance(other.exception, ConfigError)
    assert "choose from: full, budget 0.7, drop 0.05" in str(other.exception)
    both = call("predict", run, image, "--budget", "0.7", "--point", "full", *HOW)
    assert both.exit_code == 2
    none = call("predict", alone / "frozen-s0", image, "--point", "full", *HOW)
    assert "no operating points" in str(none.exception)


@pytest.mark.workflow
def test_a_studys_folder_takes_the_model_of_its_answer(finished, alone, photos, tmp_path):
    image, study = photos / "test-000000.png", results_of(finished)
    run = study / "runs" / read_json(study / "answer.json")["answer"]["run"]
    ways = [rows_of(call("predict", way, image, "--format", "csv", *HOW)) for way in (study, run)]
    pd.testing.assert_frame_equal(*(rows.drop(columns="ms") for rows in ways))
    shutil.copytree(alone / "early-s0", tmp_path / "runs" / "early-s0")
    answer = {"run": "early-s0", "setting": "full", "value": None}
    write_json(tmp_path / "answer.json", {"answer": answer})
    found = rows_of(call("predict", tmp_path, photos / "test-000000.png", "--format", "csv", *HOW))
    assert found["exit"].tolist() == [3]
    write_json(tmp_path / "answer.json", {"answer": None})
    none = call("predict", tmp_path, photos / "test-000000.png", *HOW)
    assert "no model meets what was asked" in str(none.exception)


@pytest.mark.workflow
def test_bad_files_are_named_and_left_out(alone, photos, tmp_path):
    (tmp_path / "broken.png").write_bytes((photos / "test-000001.png").read_bytes()[:60])
    (tmp_path / "words\n.jpg").write_text("no image")
    (tmp_path / "notes.txt").write_text("left aside, for a folder holds other files too")
    shutil.copy(photos / "test-000001.png", tmp_path / "good, or not.png")
    asked = (alone / "frozen-s0", tmp_path, tmp_path / "missing.jpg")
    found = call("predict", *asked, "--json", "--batch-size", 2, *HOW)
    assert found.exit_code == 1
    [row] = [json.loads(line) for line in found.stdout.splitlines()]
    assert row["file"] == str(tmp_path / "good, or not.png")
    assert row["probability"] == pytest.approx(expected(asked[0]).loc[1, "probability"], abs=2e-6)
    told = found.stderr.splitlines()
    assert len(told) == 4, told
    assert re.search(r"left out .*broken\.png: damaged image", told[0])
    assert re.search(r"left out .*words\\n\.jpg: not an image", told[1])
    assert re.search(r"left out .*missing\.jpg: cannot be read: No such file", told[2])
    assert told[3] == "3 of 4 files cannot be read and are left out"
    empty = tmp_path / "empty"
    empty.mkdir()
    assert isinstance(call("predict", asked[0], empty, *HOW).exception, DataError)


@pytest.mark.workflow
def test_the_table_and_the_csv_say_the_same(alone, photos):
    table = call("predict", alone / "early-s0", photos / "test-000003.png", *HOW)
    comma = call("predict", alone / "early-s0", photos / "test-000003.png", "--format", "csv", *HOW)
    [heading, line] = table.stdout.splitlines()
    [row] = csv.DictReader(io.StringIO(comma.stdout))
    shown = dict(zip(heading.split(), line.split()))
    assert shown.keys() == row.keys()
    assert {**shown, "ms": ""} == {**row, "ms": ""}


@pytest.mark.workflow
def test_an_earlier_versions_card_says_what_it_lacks(alone, photos, tmp_path):
    shutil.copytree(alone / "frozen-s0", tmp_path / "old")
    shutil.rmtree(tmp_path / "old" / ".checksums")  # which earlier versions did not write either
    card = read_json(tmp_path / "old" / "card.json")
    write_json(tmp_path / "old" / "card.json", {k: v for k, v in card.items() if k != "classes"})
    old = call("predict", tmp_path / "old", photos, *HOW)
    assert str(old.exception).endswith(
        "no classes, as in runs of earlier versions; train the run again"
    )
    shutil.copytree(alone / "pruned-s0", tmp_path / "older")
    shutil.rmtree(tmp_path / "older" / ".checksums")
    card = read_json(tmp_path / "older" / "card.json")
    write_json(tmp_path / "older" / "card.json", card | {"settings": {}})
    older = call("predict", tmp_path / "older", photos, *HOW)
    assert "no 'prune_blocks', as in runs of earlier versions" in str(older.exception)
    none = call("predict", photos, photos, *HOW)
    assert "no card.json; name the folder of a run" in str(none.exception)


@pytest.mark.workflow
def test_a_mistake_is_one_line_and_exit_code_2(alone, photos):
    main = [sys.executable, "-m", "frugalvit.cli.main", "predict"]
    done = subprocess.run(
        [*main, str(alone / "early-s0"), str(photos), "--budget", "0.1", "--device", "cpu"],
        capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT / "workflow")},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert "no operating point 'budget 0.1'" in line


def test_help_comes_without_torch_and_has_examples():
    code = (
        "import sys; from click.testing import CliRunner\n"
        "from frugalvit.cli.main import COMMANDS, frugalvit\n"
        "for words in (['--help'], *([name, '--help'] for name in COMMANDS)):\n"
        "    done = CliRunner().invoke(frugalvit, words); assert done.exit_code == 0, done\n"
        "    assert 'Examples:' in done.output and 'frugalvit ' in done.output, words\n"
        "    assert '\\\\b' not in done.output, words\n"
        "sys.exit(bool({'torch', 'pandas', 'numpy'} & set(sys.modules)))"
    )
    env = {"PYTHONPATH": str(ROOT / "workflow")}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)


def test_completion_names_the_commands():
    env = {"PYTHONPATH": str(ROOT / "workflow"), "_FRUGALVIT_COMPLETE": "bash_complete"}
    env |= {"COMP_WORDS": "frugalvit pre", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "frugalvit.cli.main"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["plain,predict"]


PREPROCESSING = {"image_size": 24, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]}


def test_photos_are_seen_as_the_stores_images_are(tmp_path):
    write_folder(tmp_path / "photos", {"rose": 3, "lotus": 2})
    write_image(tmp_path / "photos" / "rose" / "tall.png", 9, height=90, width=31)
    cut = {"resize": 40, "crop": 32, "stretch": [0.1, 0.8]}
    dataset = settings(path=str(tmp_path / "photos"), **cut)
    prepare(dataset, tmp_path / "raw", tmp_path / "store")
    store = Store(tmp_path / "store")
    files = [tmp_path / "photos" / file for file in store.index["file"]]
    square = Square(**cut, max_pixels=1_000_000)
    found = Photos(files, square, PREPROCESSING).__getitems__(range(len(files)))
    known = to_tensor(store.images("train"), *PREPROCESSING.values())
    assert (found.images == known).all()
    assert found.faults == []


def test_a_box_comes_back_to_the_photo_that_was_resized_and_cropped(tmp_path):
    """The middle of the view is the middle of the photo, and its edges are where the crop cut."""
    file = write_image(tmp_path / "wide.png", 1, height=100, width=300)
    square = Square(resize=40, crop=32, max_pixels=1_000_000)
    [part] = Photos([file], square, PREPROCESSING).__getitems__([0]).parts
    # The short side's 100 px became 40, of which the view shows 24: 60 px in the middle.
    assert part.box([0, 0, 1, 1]) == pytest.approx([120, 20, 180, 80])
    assert part.box([0.5, 0.5, 0.75, 1]) == pytest.approx([150, 50, 165, 80])


def test_workers_decode_the_same_photos_in_the_same_order(tmp_path):
    files = [write_image(tmp_path / f"{n:02d}.png", n) for n in range(5)]
    photos = Photos(files, Square(24, 24, 1_000_000), PREPROCESSING)
    alone, helped = (list(photos.batches(2, workers)) for workers in (0, 2))
    assert [batch.files for batch in helped] == [files[:2], files[2:4], files[4:]]
    assert all((a.images == b.images).all() for a, b in zip(alone, helped))
