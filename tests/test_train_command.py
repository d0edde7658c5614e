"""`frugalvit train`: one run without Snakemake, with the numbers of the workflow's."""

import json
import shutil

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner, Result

from frugalvit.cli.main import frugalvit
from frugalvit.config.study import load_study
from frugalvit.direct.overrides import changed, one_experiment
from frugalvit.errors import ConfigError
from frugalvit.files import read_json
from tests.workflows import ROOT, STUDY, results_of

NOTHING = {"lr": None, "epochs": None, "batch_size": None}


def call(*words) -> Result:
    return CliRunner().invoke(frugalvit, ["train", STUDY, *map(str, words), "--device", "cpu"])


def numbers(folder) -> pd.DataFrame:
    return pd.read_csv(folder / "history.csv").drop(columns="seconds")


@pytest.mark.workflow
@pytest.mark.parametrize(
    ("experiment", "seed", "made"),
    [("unfreeze_last", 1, {"unfreeze_last-s1"}), ("halting", 0, {"halting-s0"})],
)
def test_a_run_is_the_workflows_to_the_bit(finished, tmp_path, monkeypatch, experiment, seed, made):
    """`halting` starts from another run and learns from it, which the study has already."""
    monkeypatch.chdir(finished)
    done = call("--experiment", experiment, "--seed", seed, "--out", tmp_path, "--json")
    assert done.exit_code == 0, (done.output, done.exception)
    run = f"{experiment}-s{seed}"
    found, known = (
        folder / "runs" / run for folder in (tmp_path / "results/tiny", results_of(finished))
    )
    assert json.loads(done.stdout)["folder"] == str(found)
    assert json.loads(done.stdout)["store"] == "data/digits/store"
    weights = [(folder / "weights.safetensors").read_bytes() for folder in (found, known)]
    assert weights[0] == weights[1]
    pd.testing.assert_frame_equal(numbers(found), numbers(known))
    cards = [read_json(folder / "card.json") for folder in (found, known)]
    for key in ("settings", "sha256", "classes", "square", "preprocessing", "kept"):
        assert cards[0][key] == cards[1][key], key
    assert {path.name for path in (tmp_path / "results/tiny/runs").iterdir()} == made
    assert not (tmp_path / "data").exists(), "the study's images serve"


@pytest.mark.workflow
def test_what_is_missing_is_made(finished, tmp_path, monkeypatch):
    """Another seed of the images: neither the store nor the run that it starts from can be taken."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    study = yaml.safe_load((finished / STUDY).read_text())
    study["dataset"]["digits"]["seed"] = 9
    (home / STUDY).write_text(yaml.safe_dump(study))
    shutil.copytree(finished / "data", home / "data")
    shutil.copytree(results_of(finished) / "runs", home / "results" / "tiny" / "runs")
    words = ("--experiment", "early", "--seed", "0", "--epochs", "2", "--lr", "0.01")
    done = call(*words, "--batch-size", "40", "--out", "tried")
    assert done.exit_code == 0, (done.output, done.exception)
    runs = home / "tried/results/tiny/runs"
    assert {path.name for path in runs.iterdir()} == {"early-s0", "frozen-s0"}
    settings = read_json(runs / "early-s0" / "card.json")["settings"]
    assert {(phase["lr"], phase["batch_size"]) for phase in settings["schedule"]} == {(0.01, 40)}
    assert sum(phase["epochs"] for phase in settings["schedule"]) == 2
    store = home / "tried/data/digits/store/train.npy"
    assert store.read_bytes() != (home / "data/digits/store/train.npy").read_bytes()
    # Once more: images and the run before it are there, and nothing of them is made again.
    before = (store.stat().st_mtime_ns, (runs / "frozen-s0/card.json").stat().st_mtime_ns)
    assert call(*words, "--batch-size", "40", "--out", "tried").exit_code == 0
    assert before == (store.stat().st_mtime_ns, (runs / "frozen-s0/card.json").stat().st_mtime_ns)
    evaluated = CliRunner().invoke(
        frugalvit, ["evaluate", str(runs / "frozen-s0"), "--device", "cpu"]
    )
    assert evaluated.exit_code == 0, evaluated.exception


def embedded() -> dict:
    return yaml.safe_load((ROOT / "config" / "config.yaml").read_text())


def settings_of(name: str, **asked) -> dict:
    """A run's settings after options."""
    training = NOTHING | {key: asked.pop(key) for key in list(asked) if key in NOTHING}
    config = changed(one_experiment(embedded(), name), name, training=training, **asked)
    study = load_study(config)
    return study.runs[study.experiments[name].final_runs[0]].settings


@pytest.mark.parametrize(
    ("which", "phases"),
    [
        ("none", [("head", 6)]),
        ("first", [("all", 1), ("head", 5)]),
        ("last", [("head", 5), ("all", 1)]),
    ],
)
def test_unfreeze_is_the_first_or_the_last_epoch_of_all(which, phases):
    found = settings_of("unfreeze_last", unfreeze=which)
    assert [(phase["train"], phase["epochs"]) for phase in found["schedule"]] == phases


def test_one_epoch_of_all_leaves_no_phase_for_the_head():
    found = settings_of("frozen", unfreeze="last", epochs=1, lr=0.001)
    [phase] = found["schedule"]
    assert (phase["train"], phase["epochs"], phase["lr"]) == ("all", 1, 0.001)


def test_options_change_what_they_name_alone():
    plain, other = settings_of("unfreeze_last"), settings_of("unfreeze_last", seed=4)
    assert other == plain | {"seed": 4}
    fewer = settings_of("unfreeze_last", epochs=3)
    assert [phase["epochs"] for phase in fewer["schedule"]] == [2, 1]
    assert settings_of("early_exit", unfreeze="none")["schedule"][0]["train"] == "heads"
    given = embedded()
    config = changed(one_experiment(given, "avit"), "avit", fraction=0.7, training=NOTHING)
    assert given == embedded(), "the study itself stays as it was"
    assert (config["splits"]["mode"], config["splits"]["fraction"]) == ("fraction", 0.7)
    assert config["splits"]["calibration"] == given["splits"]["calibration"]
    assert set(config["experiments"]) == {"avit", "train_longer", "unfreeze_last"}


def test_mistakes_are_one_line():
    with pytest.raises(
        ConfigError, match=r"--experiment: no experiment 'frosen'; the study has froz"
    ):
        one_experiment(embedded(), "frosen")
    broken = embedded()
    del broken["experiments"]["frozen"]["schedule"][0]["epochs"]
    with pytest.raises(ConfigError, match=r"experiments.frozen.schedule\[0\]"):
        one_experiment(broken, "frozen")
    with pytest.raises(
        ConfigError, match="trains nothing; name the experiment it starts from, train_longer"
    ):
        settings_of("merged")
    with pytest.raises(
        ConfigError, match="searches batch_size, epochs, which the workflow does; one run"
    ):
        settings_of("grid_search", lr=0.01)
    searched = settings_of("grid_search", lr=0.01, epochs=4, batch_size=16)
    assert [phase["epochs"] for phase in searched["schedule"]] == [3, 1]
    with pytest.raises(ConfigError, match="epochs: 1 is less than the phases' own epochs"):
        settings_of("unfreeze_last", epochs=1)
