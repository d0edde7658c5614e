"""How long a study will take: sums of what was measured, told before anything is trained."""

import json
import re

import pytest
import yaml
from click.testing import CliRunner

from frugalvit.cli.estimate_study import command, compared, minutes
from frugalvit.config.study import load_study
from frugalvit.errors import ConfigError, DataError
from frugalvit.methods.expected import (
    Counts,
    Expected,
    Speeds,
    expected_jobs,
    measure_speeds,
    training_seconds,
    wall_seconds,
)
from tests.imagefolders import write_folder
from tests.small_study import ARCHITECTURE
from tests.test_captions import STUDY

SPEEDS = Speeds(forward=1.0, alone=1.5, step=3.0, head=0.01, start=5.0, layers=12)
OF_BASE = {"base": SPEEDS}
COUNTS = Counts(train=100, valid=10, calibration=20, test=50)


def run_of(**entry):
    """The first run of a study with one experiment, twelve blocks deep."""
    own = {"method": "fine_tune", **entry}
    study = load_study({**STUDY, "experiments": {"mine": own}, "split_variants": {}})
    return study.runs["mine-s0"]


def test_a_phase_costs_what_it_computes():
    def of(phase, **settings):
        run = run_of(schedule=[phase], **settings)
        return training_seconds(run, COUNTS, SPEEDS)

    assert of({"train": "head", "epochs": 10}) == pytest.approx(10 * (100 + 10 / 3) * 0.01)
    assert of({"train": "all", "epochs": 2}) == pytest.approx(2 * (100 * 3 + 10 * 1))
    half = {"train": {"blocks": 6}, "epochs": 4}
    live = of(half, cache_tokens=False)
    assert live == pytest.approx(4 * (100 * (0.5 * 3 + 0.5 * 1) + 10 * 1))
    stored = of(half)
    assert stored == pytest.approx(4 * (100 * 1.5 + 10 * 0.5) + (100 + 10) * 0.5)
    flipped = {"augment": {"horizontal_flip": 0.5}}
    assert of(half, **flipped) == pytest.approx(live)
    assert of(half, **flipped, views=3) == pytest.approx(stored + 2 * 100 * 0.5)


def test_the_whole_is_the_sum_and_what_runs_alone_waits_for_nothing():
    jobs = [Expected("a", 2, 30.0), Expected("b", 1, 10.0), Expected("c", 1, 7.0, alone=True)]
    assert wall_seconds(jobs, 1) == pytest.approx(47)
    assert wall_seconds(jobs, 4) == pytest.approx(40 / 4 / 0.85 + 7)


def test_every_run_is_counted_once():
    study = load_study(STUDY)
    counts = dict.fromkeys(study.used_splits, COUNTS)
    jobs = {job.rule: job for job in expected_jobs(study, counts, OF_BASE, stored=True)}
    assert jobs["train_run"].jobs == len(study.trained_runs)
    assert jobs["adopt_run"].jobs == len(study.adopted_runs)
    least = sum(
        SPEEDS.start + training_seconds(study.runs[run], COUNTS, SPEEDS)
        for run in study.trained_runs
    )
    assert jobs["train_run"].seconds == pytest.approx(least)
    assert "prepare_dataset" not in jobs
    anew = [job.rule for job in expected_jobs(study, counts, OF_BASE, stored=False)]
    assert "prepare_dataset" in anew
    assert all(job.seconds > 0 for job in jobs.values())


def test_speeds_are_of_a_network_of_that_shape():
    shape = ARCHITECTURE | {"image_size": 24}
    speeds = measure_speeds(shape, 10, batch=16, evaluated=32, seconds=0.05)
    assert 0 < speeds.forward < speeds.alone
    assert speeds.forward < speeds.step
    assert 0.5 < speeds.start < 120


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A study of a folder of images, not prepared."""
    monkeypatch.chdir(tmp_path)
    # Four seconds of a processor each time; `test_speeds_are_of_a_network_of_that_shape` measures it.
    monkeypatch.setattr("frugalvit.methods.expected.start_seconds", lambda: 5.0)
    write_folder(tmp_path / "photos", {"a": 20, "b": 20})
    study = {
        "study": "mine",
        "seeds": [0],
        "dataset": {"source": "folder", "path": "photos", "name": "photos"},
        "splits": {"mode": "fraction", "test_fraction": 0.25},
        "base": {"source": "random", "image_size": 24, "architecture": ARCHITECTURE},
        "experiments": {
            "head": {"method": "fine_tune", "schedule": [{"train": "head", "epochs": 2}]}
        },
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    return tmp_path


def test_the_command_tells_rules_and_the_clock_and_leaves_a_record(folder):
    done = CliRunner().invoke(command, ["study.yaml", "--cores", "2", "--seconds", "0.05"])
    assert done.exit_code == 0, done.output
    assert re.search(r"(?m)^ +\d+ s  train_run$", done.output)
    assert re.search(r"by the clock, with 2 cores and 2 a job", done.output)
    assert "GB of features" in done.output
    record = json.loads((folder / "results/mine/estimate.json").read_text())
    assert record["rules"]["train_run"]["jobs"] == 1
    assert record["seconds"] > 0
    took = CliRunner().invoke(command, ["study.yaml", "--took", str(record["seconds"] / 2)])
    assert "were expected (+100 %)" in took.output
    printed = CliRunner().invoke(command, ["study.yaml", "--json", "--seconds", "0.05"])
    assert json.loads(printed.output)["study"] == "mine"


def test_a_record_of_a_finished_study_stays(folder):
    (folder / "results/mine").mkdir(parents=True)
    (folder / "results/mine/summary.csv").touch()
    assert CliRunner().invoke(command, ["study.yaml", "--seconds", "0.05"]).exit_code == 0
    assert not (folder / "results/mine/estimate.json").exists()
    with pytest.raises(DataError, match=r"estimate.json: no such file"):
        compared(folder / "study.yaml", 10)


def edited(folder, **changes):
    study = yaml.safe_load((folder / "study.yaml").read_text()) | changes
    (folder / "study.yaml").write_text(yaml.safe_dump(study))


def test_images_and_shapes_that_nobody_knows_yet_are_one_line(folder):
    edited(folder, dataset={"source": "digits"})
    with pytest.raises(
        DataError, match=r"the images are not here yet.* --configfile study.yaml -- data"
    ):
        CliRunner().invoke(command, ["study.yaml"], catch_exceptions=False)
    edited(folder, dataset={"source": "folder", "path": "photos", "name": "photos"},
           base={"source": "hub", "repository": "someone/vit", "image_size": 24})  # fmt: skip
    with pytest.raises(ConfigError, match="its shape is known once it is downloaded"):
        CliRunner().invoke(command, ["study.yaml"], catch_exceptions=False)


@pytest.mark.parametrize(
    ("seconds", "told"), [(4.2, "4 s"), (288, "4 min 48 s"), (11_100, "3 h 5 min")]
)
def test_times_are_read_at_a_glance(seconds, told):
    assert minutes(seconds) == told
