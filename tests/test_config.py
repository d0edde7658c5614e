"""A study's configuration: every mistake is one line that names the key and the remedy."""

import copy
import dataclasses
import re
from pathlib import Path

import pytest
import yaml

from frugalvit.config.docs import document
from frugalvit.config.reading import read_yaml, retype
from frugalvit.config.schema import load_schema, method_schema, validate
from frugalvit.config.study import load_study
from frugalvit.errors import ConfigError, DataError
from frugalvit.methods import registry
from frugalvit.methods.registry import METHODS
from tests.imagefolders import photos
from tests.workflows import ROOT

STUDIES = sorted((ROOT / "config").rglob("*.yaml"))


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
    """Paths in a config are relative to the workflow's folder."""
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("FRUGALVIT_MIRROR", raising=False)


@pytest.fixture
def config():
    """A small valid study."""
    return {
        "study": "small",
        "seeds": [0, 1],
        "dataset": {"source": "digits"},
        "base": {
            "source": "random",
            "image_size": 24,
            "architecture": {
                "patch_size": 4, "num_layers": 6, "num_heads": 4, "hidden_dim": 64, "mlp_dim": 128,
            },
        },
        "experiments": {
            "frozen": {"method": "fine_tune", "schedule": [{"train": "head", "epochs": 2}]},
        },
    }  # fmt: skip


def put(config, path, value):
    *steps, last = path.split(".")
    place = config
    for step in steps:
        place = place[int(step)] if step.isdigit() else place.setdefault(step, {})
    place[int(last) if last.isdigit() else last] = value


FROZEN = "experiments.frozen"
SCHEDULE = f"{FROZEN}.schedule"
EXIT = "experiments.exit_early"
EXITS = {"method": "early_exit", "schedule": [{"train": "heads", "epochs": 1}]}
HUB = {"source": "hub", "repository": "owner/name"}
MISTAKES = {
    "unknown key": ("experiment", {}, "experiment: unknown key; did you mean 'experiments'?"),
    "unknown nested key": (f"{FROZEN}.learning_rate", 0.1, f"{FROZEN}.learning_rate: unknown key"),
    "typo in a phase": (f"{SCHEDULE}.0.epoch", 1, r"schedule[0].epoch: unknown key; did you mean"),
    "unknown block": ("early_exits", {}, "early_exits: unknown key"),
    "text for a number": ("training.lr", "small", "training.lr: 'small' is not a number or null"),
    "wrong type": ("training.batch_size", 3.5, "training.batch_size: 3.5 is not a whole number"),
    "boolean as text": ("splits.stratify", "no", "splits.stratify: 'no' is not true or false"),
    "out of range": ("splits.fraction", 1.2, "splits.fraction: 1.2 is too large; less than 1"),
    "negative": ("training.lr", -0.1, "training.lr: -0.1 is too small; more than 0"),
    "unknown choice": ("dataset.source", "imagenet", "dataset.source: 'imagenet' is unknown; use"),
    "unknown policy": ("splits.checks.imbalance", "fail", "splits.checks.imbalance: 'fail'"),
    "unknown train": (f"{SCHEDULE}.0.train", "tail", "schedule[0].train: 'tail' is not allowed"),
    "too many blocks": (
        f"{SCHEDULE}.0.train",
        {"blocks": 13},
        "experiments.frozen.schedule[0].train: 'blocks: 13' but the base has 6 blocks",
    ),
    "null for a method": (f"{FROZEN}.method", None, "method: None is unknown; use one of: fine_tune,"),
    "no epochs": (f"{SCHEDULE}.0.epochs", 0, "schedule[0].epochs: 0 is not allowed"),
    "empty schedule": (SCHEDULE, [], f"{SCHEDULE}: [] has too few entries"),
    "no experiments": ("experiments", {}, "experiments: empty"),
    "bad name": ("experiments.Frozen-1", {}, "'Frozen-1' is not allowed; write lower-case"),
    "rest of nothing": (f"{SCHEDULE}.0.epochs", "rest", "'rest' of what? add experiments.frozen"),
    "epochs without rest": (f"{FROZEN}.epochs", 5, f"{FROZEN}.epochs: no phase says 'epochs: rest'"),
    "empty grid": (f"{FROZEN}.grid", {"parameters": {}}, "grid.parameters: empty; name at least 1"),
    "grid without values": (f"{FROZEN}.grid", {"parameters": {"lr": []}}, "lr: [] has too few"),
    "grid of a wrong key": (f"{FROZEN}.grid", {"parameters": {"rate": [1]}}, "rate: 1 does not fit"),
    "grid of a wrong value": (f"{FROZEN}.grid", {"parameters": {"lr": [0]}}, "lr: 0 does not fit"),
    "grid of a missing phase": (
        f"{FROZEN}.grid",
        {"parameters": {"schedule[3].lr": [0.1]}},
        "grid.parameters.schedule[3].lr: no such setting",
    ),
    "seed twice": ("seeds", [0, 0], "seeds: [0, 0] names an entry twice"),
    "no seeds": ("seeds", [], "seeds: [] has too few entries"),
    "unknown class": ("dataset.classes", ["1", "eleven"], "dataset.classes[1]: unknown class 'eleven'"),
    "unknown variant": (f"{FROZEN}.splits", "swapped", f"{FROZEN}.splits: no split variant 'swapped'"),
    "unknown shown": ("figures.experiments", ["frosen"], "figures.experiments[0]: no experiment"),
    "a home that nobody has": ("mirror", "~no_such_user/data", "mirror: no folder '~no_such_user/data'"),
    "a key of another method": (f"{FROZEN}.baseline", 0, f"{FROZEN}.baseline: only method avit has"),
    "missing folder": ("dataset", {"source": "folder", "path": "nowhere"}, "no folder 'nowhere'"),
    "folder without path": ("dataset", {"source": "folder"}, "dataset.path: missing"),
    "missing archive": ("dataset", {"source": "archive", "path": "x.tar"}, "dataset.path: no file"),
    "address without checksum": (
        "dataset",
        {"source": "archive", "path": "https://example.org/x.tar"},
        "dataset.sha256: missing",
    ),
    "missing weights": ("base", {"source": "file", "file": "x.pth"}, "base.file: no file 'x.pth'"),
    "grid of what no run has": (f"{FROZEN}.grid", {"parameters": {"seeds": [[0]]}}, "cannot vary this"),
    "two policies at once": (
        FROZEN,
        {"method": "fine_tune", "augment": {"auto_augment": True}, "schedule": [
            {"train": "all", "epochs": 1, "augment": {"trivial_augment": True}}]},
        "schedule[0].augment: trivial_augment and auto_augment are both on",
    ),
    "views of two kinds": (
        FROZEN,
        {"method": "fine_tune", "views": 2, "schedule": [
            {"train": "head", "epochs": 1}, {"train": "head", "epochs": 1, "augment": {"shift": 2}}]},
        "schedule[1].augment: differs from schedule[0]'s",
    ),
    "pretraining images too small": (
        "base",
        {"source": "pretrain", "image_size": 24, "architecture": {
            "patch_size": 4, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 16},
         "pretrain": {"epochs": 1, "dataset": {"source": "digits", "name": "small_ones",
                                               "digits": {"canvas": 20}}}},
        "base.image_size: 24 px, but base.pretrain.dataset.crop stores 20 px",
    ),
    "no process": ("compute.cpu_processes", 0, "compute.cpu_processes: 0 is too small; at least 1"),
    "missing mirror": ("mirror", "nowhere", "mirror: no folder 'nowhere'"),
    "missing shape": ("base.architecture", {"patch_size": 4}, "base.architecture.num_layers: missing"),
    "size no multiple": ("base.image_size", 22, "base.image_size: 22 px is no multiple of the patch"),
    "size over the store": ("base.image_size", 48, "base.image_size: 48 px, but dataset.crop stores 24"),
    "heads do not divide": ("base.architecture.num_heads", 5, "base.architecture.num_heads: 5 heads"),
    "digit over the canvas": ("dataset.digits.size", [10, 30], "dataset.digits.size: [10, 30]"),
    "no model": ("base", {"source": "torchvision", "image_size": 24}, "base.model: missing"),
    "exits of a plain model": (f"{FROZEN}.exits", "all", "exits: only method early_exit has this"),
    "all heads of a plain model": (f"{SCHEDULE}.0.train", "heads", "'heads' is for method early_exit"),
    "more blocks kept than exist": (f"{FROZEN}.keep_blocks", 7, "keep_blocks: 7, but the base has 6"),
    "no such source": (f"{FROZEN}.from", "molten", f"{FROZEN}.from: no experiment 'molten'"),
    "its own source": (f"{FROZEN}.from", "frozen", f"{FROZEN}.from: leads back to itself"),
    "exits without calibration": (EXIT, EXITS, "splits.calibration: missing; experiments.exit_"),
    "exit beyond the depth": (EXIT, EXITS | {"exits": [2, 7]}, "exits[1]: 7, but the base has 6 blocks"),
    "no early exit": (EXIT, EXITS | {"exits": [6]}, "exits: no exit before the last block"),
    "own head untrained": (
        EXIT,
        EXITS | {"schedule": [{"train": "exits", "epochs": 1}]},
        "schedule[0].train: 'exits' leaves the model's own head as it is",
    ),
    "the plain head of exits": (
        EXIT, EXITS | {"schedule": [{"train": "head", "epochs": 1}]}, "write heads, or exits"
    ),
    "nothing to choose": (
        EXIT, EXITS | {"choose": "risk", "targets": {"risk": []}}, "choose: 'risk', but targets.risk"
    ),
    "a risk without delta": (
        EXIT, EXITS | {"targets": {"risk": [{"epsilon": 0.1}]}}, "targets.risk[0].delta: missing"
    ),
    "a promise made twice": (
        EXIT,
        EXITS | {"targets": {"risk": [{"epsilon": 0.1, "delta": 0.1}, {"epsilon": 0.1, "delta": 0.2}]}},
        "targets.risk[1].epsilon: 0.1 stands twice",
    ),
    "patience of two exits": (
        EXIT, EXITS | {"exits": [3], "criterion": "patience"}, "criterion: patience asks exits in a row"
    ),
    "a block that is no whole number": (EXIT, EXITS | {"exits": [2.0]}, "exits: [2.0] is not allowed"),
    "a grid of the wrong method": (
        f"{FROZEN}.grid", {"parameters": {"schedule[0].train": ["head", "exits"]}},
        "schedule[0].train: 'exits' is for method early_exit",
    ),
    "exits of a search": (EXIT, EXITS | {"grid": {"parameters": {"lr": [1]}}}, "grid: a search is for"),
    "crop over resize": (
        "dataset", {"source": "cifar10", "resize": 32, "crop": 64}, "dataset.crop: 64 px is larger"
    ),
    "stretch the wrong way round": (
        "dataset", {"source": "digits", "stretch": [0.5, 0.2]}, "dataset.stretch: [0.5, 0.2] goes from"
    ),
    "no repository": ("base", {"source": "hub", "image_size": 24}, "base.repository: missing; base.so"),
    "a repository without owner": (
        "base", {"source": "hub", "repository": "deit"}, "base.repository: 'deit' is not allowed; write"
    ),
    "a repository that leaves the hub's folder": (
        "base", {"source": "hub", "repository": "../etc"}, "base.repository: '../etc' is not allowed"
    ),
    "a repository of dots": (
        "base", {"source": "hub", "repository": "a/b..c"}, "base.repository: 'a/b..c' is not allowed"
    ),
    "a revision that leaves its repository": (
        "base", HUB | {"revision": "main/../.."}, "base.revision: 'main/../..' is not allowed; write"
    ),
    "a revision with a query": ("base", HUB | {"revision": "main?x=1"}, "base.revision: 'main?x=1'"),
    "a file outside the repository": ("base", HUB | {"file": "/etc/passwd"}, "base.file: '/etc/passwd'"),
    "a file above the repository": (
        "base", HUB | {"file": "a/../../b"}, "base.file: 'a/../../b' is not allowed; write a path inside"
    ),
    "two policies": (
        "training.augment", {"trivial_augment": True, "auto_augment": True},
        "write one of trivial_augment and auto_augment, not both",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_a_mistake_is_one_line_with_key_and_remedy(config, mistake):
    path, value, message = MISTAKES[mistake]
    put(config, path, value)
    with pytest.raises(ConfigError) as caught:
        load_study(config)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_name_that_stands_twice_is_told_with_its_line(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text("experiments:\n  frozen: {}\n  other: {}\n  frozen: {}\n")
    with pytest.raises(ConfigError, match=r"line 4: 'frozen' stands twice"):
        read_yaml(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [1", "not valid YAML"), ("- 1", "a study is a block of keys"), ("", "block of keys")],
)
def test_a_file_that_is_no_study_is_told(tmp_path, text, message):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_yaml(path)
    with pytest.raises(ConfigError, match="no such configuration file"):
        read_yaml(tmp_path / "other.yaml")


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_shipped_studies_are_valid(path, tmp_path):
    config = read_yaml(path)
    if config["dataset"]["source"] == "folder":  # whose path is the user's to write
        config["dataset"]["path"] = str(photos(tmp_path / "photos", classes=3, each=14))
    else:  # what a study finds in the mirror
        for name in (config["dataset"].get("path"), config.get("base", {}).get("file")):
            if name:
                (tmp_path / name).touch()
                config["mirror"] = str(tmp_path)
    assert load_study(config).final_runs


def test_runs_are_experiments_times_points_times_seeds(config):
    config["experiments"]["search"] = {
        "method": "fine_tune",
        "epochs": 4,
        "schedule": [{"train": "head", "epochs": "rest"}, {"train": "all", "epochs": 1}],
        "grid": {
            "parameters": {"lr": [0.1, 0.2, 0.3], "epochs": [2, 4], "schedule[1].lr": [0.5]},
            "max_sets": 4,
        },
    }
    study = load_study(config)
    search = study.experiments["search"]
    assert search.final_runs == ["search-s0", "search-s1"]
    assert search.search_runs == [f"search-g0{point}-s0" for point in range(4)]
    assert len(search.points) == 4
    assert load_study(config).experiments["search"].points == search.points
    for run, point in zip(search.search_runs, search.points):
        head, everything = study.runs[run].settings["schedule"]
        assert head["lr"] == point["lr"]
        assert everything["lr"] == 0.5
        assert head["epochs"] + everything["epochs"] == point["epochs"]
    assert len(study.runs["search-s1"].candidates) == 4
    assert all(settings["seed"] == 1 for settings in study.runs["search-s1"].candidates)


def test_a_phase_overrides_its_experiment_and_that_the_study(config):
    config["training"] = {"lr": 0.5, "batch_size": 7, "label_smoothing": 0.1}
    config["experiments"]["frozen"] |= {"lr": 0.4, "batch_size": 8, "keep": "last"}
    config["experiments"]["frozen"]["schedule"][0]["lr"] = 0.3
    settings = load_study(config).runs["frozen-s0"].settings
    phase = settings["schedule"][0]
    assert (phase["lr"], phase["batch_size"], phase["label_smoothing"]) == (0.3, 8, 0.1)
    assert settings["keep"] == "last"


def test_editing_one_experiment_leaves_the_others_settings_alone(config):
    before = load_study(config).runs["frozen-s0"].settings
    changed = copy.deepcopy(config)
    changed["experiments"]["other"] = {
        "method": "fine_tune",
        "schedule": [{"train": "all", "epochs": 1}],
    }
    assert load_study(changed).runs["frozen-s0"].settings == before


def test_validation_leaves_the_schema_and_the_config_alone(config):
    given = copy.deepcopy(config)
    schema = copy.deepcopy(load_schema())
    study = load_study(config)
    study.config["splits"]["checks"]["imbalance"] = "off"
    assert config == given
    assert load_schema() == schema
    assert validate({}, "splits")["checks"]["imbalance"] == "warn"


def test_config_readme_is_what_the_schema_says():
    assert (ROOT / "config" / "README.md").read_text() == document(), "run `make config-docs`"


def test_every_key_of_the_schema_is_described():
    def undescribed(part, path):
        for key, value in part.get("properties", {}).items():
            target = value
            if "$ref" in value:
                target = load_schema()["$defs"][value["$ref"].rsplit("/", 1)[1]] | value
            if "description" not in target and "allOf" not in target:
                yield f"{path}.{key}"
            yield from undescribed(target, f"{path}.{key}")

    definitions = load_schema()["$defs"]
    parts = ["dataset", "base", "split_overrides", "training_overrides", "experiment", "phase"]
    of_methods = {name: {"properties": method_schema(name)} for name in METHODS}
    # Keys of methods stand in the experiment, too, where nothing is said of them.
    own = {key for part in of_methods.values() for key in part["properties"]}
    experiment = {
        key: value
        for key, value in definitions["experiment"]["properties"].items()
        if key not in own
    }
    described = definitions | {"experiment": {"properties": experiment}} | of_methods
    missing = [key for name in (*parts, *METHODS) for key in undescribed(described[name], name)]
    assert not missing


def test_a_run_starts_from_another_of_the_same_seed_and_splits(config):
    config["splits"] = {"calibration": {"from": "valid", "fraction": 0.5}}
    late = {"train": "all", "epochs": 1}
    config["experiments"] = {
        "exits": EXITS | {"from": "tuned"},
        "on_frozen": EXITS | {"from": "frozen", "schedule": [{"train": "exits", "epochs": 1}]},
        "tuned": {"method": "fine_tune", "schedule": [late]},
        "frozen": {"method": "fine_tune", "schedule": [{"train": "head", "epochs": 1}]},
    }
    study = load_study(copy.deepcopy(config))
    assert list(study.experiments) == list(config["experiments"])
    assert study.runs["exits-s0"].source == "tuned-s0"
    assert study.runs["exits-s0"].feature_sets == []
    assert study.runs["on_frozen-s0"].feature_sets == ["plain"]
    assert study.runs["on_frozen-s0"].head_only
    assert not study.runs["exits-s0"].head_only
    for changes, message in (
        ({"seeds": [9]}, "experiments.exits.seeds: 'tuned' has no run with seed 9"),
        ({"splits": "other"}, "experiments.exits.splits: 'tuned' was trained on other splits"),
        ({"from": "on_frozen"}, "experiments.exits.from: 'on_frozen' is of method early_exit"),
    ):
        wrong = copy.deepcopy(config) | {"split_variants": {"other": {"seed": 1}}}
        wrong["experiments"]["exits"] |= changes
        with pytest.raises(ConfigError, match=re.escape(message)):
            load_study(wrong)


def test_a_new_target_leaves_the_training_as_it_is(config):
    config["splits"] = {"calibration": {"from": "valid", "fraction": 0.5}}
    config["experiments"]["exits"] = copy.deepcopy(EXITS)
    settings = load_study(copy.deepcopy(config)).runs["exits-s0"].settings
    config["experiments"]["exits"]["targets"] = {"budget": [0.3]}
    config["experiments"]["exits"]["criterion"] = "patience"
    changed = load_study(config)
    assert changed.runs["exits-s0"].settings == settings
    assert changed.experiments["exits"].evaluation["targets"]["budget"] == [0.3]


def test_the_readmes_examples_are_valid(config):
    text = (ROOT / "config" / "README.md").read_text()
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.S)]
    methods = set()
    config["base"] = {"source": "torchvision", "model": "vit_b_16"}  # whose GFLOPs they name
    config["dataset"] = {"source": "flowers102"}
    for block in blocks:
        own = copy.deepcopy(config) | block
        if "images" in block:
            del own["base"]
        study = load_study(own)
        methods |= {experiment.method for experiment in study.experiments.values()}
    assert methods == set(METHODS)
    assert any("grid" in entry for block in blocks for entry in block["experiments"].values())


def test_overrides_of_the_command_line_get_their_types():
    given = {
        "training": {"lr": "0.5", "keep": "last"},
        "seeds": ["0", "3"],
        "mirror": "null",
        "study": "a",
    }
    assert retype(given) == {
        "training": {"lr": 0.5, "keep": "last"},
        "seeds": [0, 3],
        "mirror": None,
        "study": "a",
    }


def test_a_method_that_forgets_to_refuse_fewer_blocks_does_not_drop_them(config, monkeypatch):
    forgetful = dataclasses.replace(registry.method("avit"), check=lambda entry: {})
    real = registry.method
    monkeypatch.setattr(
        registry, "method", lambda name: forgetful if name == "avit" else real(name)
    )
    phases = [{"train": "all", "epochs": 1}]
    config["experiments"]["mine"] = {"method": "avit", "keep_blocks": 2, "schedule": phases}
    with pytest.raises(ConfigError, match=r"mine.keep_blocks: avit keeps all blocks; remove it"):
        load_study(config)


def test_a_folder_that_may_not_be_read_is_one_line(config, monkeypatch):
    def denied(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_dir", denied)
    config["mirror"] = "private"
    with pytest.raises(
        DataError, match=r"^private: Permission denied; correct the path, or who may"
    ):
        load_study(config)
