"""Grid searches and the number of runs: counted before they are spread out, and no point twice."""

import itertools
import random

import pytest

from frugalvit.config.expansion import LONGEST_CHAIN
from frugalvit.config.grids import MOST_RUNS, grid_points
from frugalvit.config.reading import read_yaml
from frugalvit.config.schema import validate
from frugalvit.config.study import load_study
from frugalvit.errors import ConfigError
from tests.workflows import ROOT

# Learning rate, epochs and batch size of the embedded study's points, which its results are of.
POINTS = [(0.001, 2, 32), (0.001, 2, 64), (0.01, 5, 64)]
HEAD = {"train": "head", "epochs": 1}


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("FRUGALVIT_MIRROR", raising=False)


@pytest.fixture
def config():
    """The tiny study without its experiments."""
    return read_yaml("tests/studies/tiny.yaml") | {
        "experiments": {},
        "figures": {"formats": ["svg"]},
        "seeds": [0, 1],
    }


def searching(parameters, schedule=(HEAD,), **grid):
    return {
        "method": "fine_tune",
        "schedule": list(schedule),
        "grid": {"parameters": parameters, **grid},
    }


def refused(config, name, entry):
    with pytest.raises(ConfigError) as caught:
        load_study(config | {"experiments": {name: entry}})
    return str(caught.value)


@pytest.mark.parametrize("most", [None, 1, 5, 23, 24, 100])
def test_points_are_those_of_the_whole_product(most):
    parameters = {"b": [1, 2, 3], "c": [True, False], "a": [4, 5, 6, 7]}
    grid = {"parameters": parameters, "max_sets": most, "seed": 3}
    product = [
        dict(zip("abc", values))
        for values in itertools.product(*(parameters[key] for key in "abc"))
    ]
    if most and most < len(product):
        product = [
            product[place] for place in sorted(random.Random(3).sample(range(len(product)), most))
        ]
    assert grid_points("here", grid) == product


def test_the_embedded_study_keeps_its_points():
    config = validate(read_yaml("config/config.yaml"))
    points = grid_points("here", config["experiments"]["grid_search"]["grid"])
    assert [(point["lr"], point["epochs"], point["batch_size"]) for point in points] == POINTS


def test_a_few_points_are_drawn_of_a_grid_that_nobody_could_write_down(config):
    hundred = [10 ** (-1 - place / 100) for place in range(100)]
    keys = ("lr", "weight_decay", "clip_norm", "warmup_epochs")
    entry = searching(dict.fromkeys(keys, hundred), max_sets=3)
    study = load_study(config | {"experiments": {"wide": entry}})
    points = study.experiments["wide"].points
    assert len(points) == 3
    assert all(set(point) == set(keys) for point in points)
    assert "grid: 100,000,000 points, at most 1,000 can be tried; set max_sets" in refused(
        config, "wide", searching(dict.fromkeys(keys, hundred))
    )
    more = {f"schedule[0].{key}": hundred for key in (*keys, "label_smoothing", "layer_decay")}
    entry = searching(dict.fromkeys(keys, hundred) | more, max_sets=3)
    assert "more than 2^63 points; shorten the lists" in refused(config, "wide", entry)


def test_an_absurd_number_of_runs_is_counted_not_made(config):
    plain = {"method": "fine_tune", "schedule": [HEAD]}
    many = config | {"seeds": list(range(20_000))}
    assert refused(many, "plain", plain) == (
        f"experiments: 20,000 runs, at most {MOST_RUNS:,} can be in a study; name fewer seeds, or "
        "divide it"
    )
    searched = searching({"lr": [0.1 / n for n in range(1, 200)]}, seeds=list(range(30)))
    assert "experiments: 5,972 runs, at most 5,000" in refused(config, "wide", searched)
    wide = searching({"lr": [0.1 / n for n in range(1, 501)]})
    assert (
        "grid: 500 points for each of 300 seeds, at most 20,000 in all; lower max_sets"
        in refused(config | {"seeds": list(range(300))}, "wide", wide)
    )


def test_texts_of_a_grid_are_the_numbers_that_everyone_means(config):
    entry = searching({"lr": ["1e-5", "1E-4"], "schedule[0].epochs": ["2", 3]})
    study = load_study(config | {"experiments": {"texts": entry}})
    assert study.experiments["texts"].points == [
        {"lr": lr, "schedule[0].epochs": epochs} for lr in (1e-5, 1e-4) for epochs in (2, 3)
    ]
    assert {run.settings["schedule"][0]["lr"] for run in study.runs.values()} == {1e-5, 1e-4}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "nan", "1e400", "-.inf", "inf"])
def test_a_grid_holds_finite_numbers(config, value):
    told = refused(config, "odd", searching({"lr": [0.1, value]}))
    assert told.startswith("experiments.odd.grid.parameters.lr: ")
    assert "not a number" in told if value == "-.inf" else "not a finite number; write one" in told


@pytest.mark.parametrize(
    ("parameters", "schedule", "told"),
    [
        ({"lr": [0.1, 0.2]}, [HEAD | {"lr": 0.3}], "lr: 0.1 and 0.2 train the same; remove"),
        ({"lr": [0.1, 0.2], "schedule[0].lr": [0.3, 0.4]}, [HEAD], "lr: 0.1 and 0.2 train the same"),
        ({"lr": ["1e-3", 0.001]}, [HEAD], "lr: 0.001 and 0.001 train the same; remove"),
        ({"augment.shift": [1, 2]}, [HEAD | {"augment": {"shift": 3}}], "augment.shift: 1 and 2 train"),
    ],
)  # fmt: skip
def test_points_that_train_the_same_are_refused(config, parameters, schedule, told):
    message = refused(config, "twins", searching(parameters, schedule))
    assert message.startswith(f"experiments.twins.grid.parameters.{told}")


def test_one_phase_may_override_what_another_takes_from_the_grid(config):
    entry = searching({"lr": [0.1, 0.2]}, [HEAD | {"lr": 0.3}, {"train": "all", "epochs": 1}])
    study = load_study(config | {"experiments": {"half": entry}})
    assert len(study.experiments["half"].points) == 2


@pytest.mark.parametrize(
    "setting", [1, None, "", "schedule[7].lr", "schedule.lr", "lr.deeper", "[0]"]
)
def test_a_grid_of_what_is_no_setting_is_one_line(config, setting):
    told = refused(config, "odd", searching({setting: [0.1]}))
    assert told.startswith("experiments.odd.grid.parameters")


def test_points_do_not_share_the_block_that_a_grid_puts_in(config):
    """One key of a block that the grid sets too is each point's own."""
    block = {"horizontal_flip": 0.5, "shift": 1}
    entry = searching({"augment": [block], "augment.shift": [2, 3]})
    study = load_study(config | {"experiments": {"blocks": entry}})
    first, second = (study.runs[f"blocks-g0{place}-s0"].settings for place in (0, 1))
    found = [run["schedule"][0]["augment"] for run in (first, second)]
    assert [own["shift"] for own in found] == [2, 3]
    assert [own["horizontal_flip"] for own in found] == [0.5, 0.5]
    assert block == {"horizontal_flip": 0.5, "shift": 1}


def test_a_matrix_varies_the_schedule_that_a_recipe_brings(config):
    recipes = {"short": {"schedule": [HEAD | {"lr": 0.1}, {"train": "all", "epochs": 2}]}}
    entry = {"method": "fine_tune", "recipe": "short", "matrix": {"schedule[1].epochs": [3, 4]}}
    given = config | {"recipes": recipes, "experiments": {"one": entry, "two": entry | {"matrix": {
        "recipe": ["short"], "schedule[0].lr": [0.2, 0.3]}}}}  # fmt: skip
    study = load_study(given)
    found = {
        name: [(phase["epochs"], phase["lr"]) for phase in own.schedule]
        for name, own in study.experiments.items()
    }
    assert found == {
        "one_epochs_3": [(1, 0.1), (3, 0.003)],
        "one_epochs_4": [(1, 0.1), (4, 0.003)],
        "two_lr_0_2": [(1, 0.2), (2, 0.003)],
        "two_lr_0_3": [(1, 0.3), (2, 0.003)],
    }  # fmt: skip
    assert recipes["short"]["schedule"][0]["lr"] == 0.1


@pytest.mark.parametrize("key", ["matrix", "recipe"])
def test_a_recipe_that_holds_a_matrix_is_refused(config, key):
    held = {"matrix": {"lr": [0.1, 0.2]}, "recipe": "other"}[key]
    entry = {"method": "fine_tune", "recipe": "own", "schedule": [HEAD]}
    with pytest.raises(ConfigError) as caught:
        load_study(config | {"recipes": {"own": {key: held}}, "experiments": {"one": entry}})
    assert str(caught.value).startswith(f"recipes.own.{key}: ")
    assert "write it in the experiment" in str(caught.value)


def chain(length):
    return {
        f"n{place}": {
            "method": "fine_tune",
            "schedule": [HEAD],
            **({"from": f"n{place - 1}"} if place else {}),
        }
        for place in reversed(range(length))
    }


def test_a_chain_of_experiments_has_an_end(config):
    study = load_study(config | {"experiments": chain(LONGEST_CHAIN)})
    assert study.runs[f"n{LONGEST_CHAIN - 1}-s0"].source == f"n{LONGEST_CHAIN - 2}-s0"
    with pytest.raises(ConfigError) as caught:
        load_study(config | {"experiments": chain(1500)})
    assert str(caught.value).startswith(
        f"experiments.n{LONGEST_CHAIN}.from: more than {LONGEST_CHAIN} experiments build one upon"
    )


def test_a_loop_of_experiments_is_told_with_its_names(config):
    looped = chain(3)
    looped["n0"]["from"] = "n2"
    with pytest.raises(
        ConfigError, match=r"from: leads back to itself \(n2 from n1 from n0 from n2"
    ):
        load_study(config | {"experiments": looped})
