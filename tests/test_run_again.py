"""`frugalvit evaluate` and `show`: a finished run on its study's images once more."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from frugalvit.cli.main import frugalvit
from frugalvit.errors import ConfigError, DataError
from frugalvit.files import read_json
from tests.workflows import results_of

pytestmark = pytest.mark.workflow


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(frugalvit, [str(word) for word in (*words, "--device", "cpu")])


def run_of(folder: Path, name: str) -> Path:
    return results_of(folder) / "runs" / name


@pytest.mark.parametrize("name", ["shown.jpg", "shown"])
def test_a_picture_of_no_known_format_is_refused_before_anything_is_computed(tmp_path, name):
    """The folder holds no run, which would be told next."""
    done = call("show", tmp_path, 0, "--out", tmp_path / name)
    assert isinstance(done.exception, ConfigError)
    assert str(done.exception) == (
        f"--out: {tmp_path / name}: '{Path(name).suffix}' is no format of a picture; use svg, png, pdf"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "split", "left_out"),
    [
        ("frozen-s0", "test", ""),
        ("unfreeze_last-s0", "test", ""),  # which goes by splits of its own
        ("early-s0", "valid", ""),
        ("halting-s0", "test", "depth_inside, depth_outside, boxed, packed_difference"),
        ("boxes-s0", "test", ""),
        ("merged-s0", "valid", ""),
    ],
)
def test_the_metrics_are_those_of_the_workflow(finished, name, split, left_out):
    done = call("evaluate", run_of(finished, name), "--split", split, "--json", "--batch-size", 9)
    assert done.exit_code == 0, (done.output, done.exception)
    known = read_json(run_of(finished, name) / "metrics.json")[split]
    found = json.loads(done.stdout)
    assert [key for key in known if key not in found] == (left_out.split(", ") if left_out else [])
    for key, value in found.items():
        if isinstance(value, float):
            assert value == pytest.approx(known[key], abs=2e-6), key
        else:
            assert value == known[key], key
    assert (f"not computed anew: {left_out}" in done.stderr) == bool(left_out)


def test_metrics_are_readable_without_json(finished):
    done = call("evaluate", run_of(finished, "frozen-s0"))
    told = dict(line.split() for line in done.stdout.splitlines())
    known = read_json(run_of(finished, "frozen-s0") / "metrics.json")["test"]
    assert float(told["accuracy"]) == pytest.approx(known["accuracy"], abs=1e-6)
    assert told["n"] == str(known["n"])
    assert "confusion" not in told


def test_the_images_are_those_that_the_run_was_trained_with(finished, tmp_path):
    lonely = tmp_path / "results" / "tiny" / "runs" / "frozen-s0"
    shutil.copytree(run_of(finished, "frozen-s0"), lonely)
    assert "name its folder with --data" in str(call("evaluate", lonely).exception)
    data = finished / "data" / "digits"
    assert "no splits*/assignments.csv" in str(call("evaluate", lonely, "--data", data).exception)
    shutil.copytree(results_of(finished) / "splits", tmp_path / "results" / "tiny" / "splits")
    assert call("evaluate", lonely, "--data", data).exit_code == 0
    shutil.copytree(data, tmp_path / "other")
    index = tmp_path / "other" / "store" / "index.csv"
    index.write_text(index.read_text().replace(",0,", ",1,"))
    other = call("evaluate", lonely, "--data", tmp_path / "other")
    assert isinstance(other.exception, DataError)
    none = call("evaluate", lonely, "--data", data, "--split", "train", "--point", "full")
    assert "no operating points" in str(none.exception)


@pytest.mark.parametrize("name", ["frozen-s0", "early-s0", "halting-s0", "boxes-s0"])
def test_images_are_drawn_with_their_answers(finished, tmp_path, name):
    out = tmp_path / "shown.svg"
    done = call("show", run_of(finished, name), "--images", 22, 29, 40, "--out", out)
    assert done.exit_code == 0, (done.output, done.exception)
    assert done.stdout.strip() == str(out)
    drawn = out.read_text()
    assert drawn.count("<image") >= 3
    assert name in drawn  # in its title, which SVG keeps as text


def test_what_is_drawn_follows_the_images_that_are_asked_for(finished, tmp_path):
    """The same image gives the same picture, another one another."""
    drawn = []
    for place in (3, 3, 4):
        out = tmp_path / f"{len(drawn)}.png"
        assert call("show", run_of(finished, "early-s0"), place, "--out", out).exit_code == 0
        drawn.append(np.asarray(Image.open(out)))
    assert (drawn[0] == drawn[1]).all()
    assert drawn[0].shape != drawn[2].shape or (drawn[0] != drawn[2]).any()


def test_images_that_are_not_there_are_told(finished):
    test = (
        pd.read_csv(results_of(finished) / "splits" / "assignments.csv")["split"].eq("test").sum()
    )
    beyond = call("show", run_of(finished, "early-s0"), "--images", test)
    assert isinstance(beyond.exception, ConfigError)
    assert f"the {test} test images count from 0" in str(beyond.exception)
    assert call("show", run_of(finished, "early-s0")).exit_code == 2
