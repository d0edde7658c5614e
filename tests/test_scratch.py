"""Training from scratch: a study without a base, resume, averages, lengths, losses."""

import copy
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from torch import nn

from frugalvit.config.experiments import run_settings
from frugalvit.config.reading import read_yaml
from frugalvit.config.schema import merge, validate
from frugalvit.config.study import load_study
from frugalvit.devices.fabric import make_fabric
from frugalvit.errors import ConfigError
from frugalvit.methods.scratch.model import begin
from frugalvit.methods.scratch.objective import SquaredError
from frugalvit.methods.trained import MethodRecipe, load_run
from frugalvit.training.averaging import Averaged
from frugalvit.training.lengths import inputs_of, total_steps, validates, with_lengths
from frugalvit.training.objective import Classification
from frugalvit.training.phases import rate_factor
from frugalvit.training.runs import RunFiles, train_run
from tests.small_study import KilledError, killed_after, weights_bytes

STUDY = Path(__file__).parent / "studies" / "scratch.yaml"
VIT = {
    "kind": "vit", "patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 24,
}  # fmt: skip
SMALL_RESNET = {"kind": "resnet18", "small_stem": True}
ENCODER = {"kind": "conv_encoder", "widths": [4, 4]}


@pytest.fixture
def config():
    return yaml.safe_load(STUDY.read_text())


def settings_for(network=VIT, loss="cross_entropy", **phase):
    """A run's settings, as the study would expand them."""
    raw = {"method": "scratch", "network": dict(network), "loss": loss}
    network = validate(raw, "experiment")["network"]
    training = merge(validate({}, "training"), {"lr": 0.002, "layer_decay": 1.0})
    settings = run_settings("scratch", 0, training, [{"train": "all", "epochs": 2, **phase}])
    seen = {"image_size": 24, "mean": [0.2] * 3, "std": [0.25] * 3}
    return settings | {"network": network, "loss": loss, "preprocessing": seen}


def train(study, folder, settings):
    files = RunFiles(folder, study / "store", study / "assignments.csv", base=None, features={})
    how = {"batch_size": 32, "workers": 0, "code": "x"}
    recipe = MethodRecipe("scratch")
    return train_run(make_fabric(0, 1), "run", settings, files, recipe, **how)


EVERYTHING = {
    "epochs": 4,
    "max_inputs": 300,
    "validate_every": 2,
    "ema": 0.9,
    "lr_schedule": "step",
    "augment": {"trivial_augment": True, "shift": 2, "mixup": 0.2, "cutmix": 1.0},
    "augment_on": "device",
}


@pytest.mark.parametrize("last_epoch", [1, 2, 3])
@pytest.mark.parametrize("network", [VIT | {"patch_size": 4, "stem": [4, 8]}, ENCODER])
def test_a_killed_run_ends_as_one_never_killed(study, tmp_path, monkeypatch, network, last_epoch):
    """The average of the weights and what batch norms count go on where they were."""
    settings = settings_for(network, **EVERYTHING)
    train(study, tmp_path / "whole", settings)
    monkeypatch.setattr("frugalvit.training.runs.Trainer", killed_after(last_epoch))
    with pytest.raises(KilledError):
        train(study, tmp_path / "killed", settings)
    monkeypatch.undo()
    assert train(study, tmp_path / "killed", settings).resumed_after == [last_epoch]
    assert weights_bytes(tmp_path / "killed") == weights_bytes(tmp_path / "whole")
    histories = [
        pd.read_csv(tmp_path / run / "history.csv").drop(columns="seconds")
        for run in ("killed", "whole")
    ]
    pd.testing.assert_frame_equal(*histories, check_exact=True)


def test_max_inputs_ends_the_last_epoch_and_validation_comes_every_so_many(study, tmp_path):
    progress = train(study, tmp_path, settings_for(**EVERYTHING | {"epochs": 9}))
    rows = pd.DataFrame(progress.history)  # of 96 images
    assert len(rows) == 4
    assert rows["valid_loss"].notna().tolist() == [False, True, False, True]
    assert progress.best_epoch in (2, 4)
    assert rows["lr"].tolist() == pytest.approx([0.002, 0.002, 0.0002, 0.00002])
    schedule = load_run(tmp_path)[1]["settings"]["schedule"]
    assert schedule[0]["epochs"] == 4


def test_lengths():
    phase = {"epochs": 40, "max_inputs": 2_000_000, "batch_size": 64}
    phase = with_lengths({"schedule": [phase]}, 60_000)["schedule"][0]
    assert phase["epochs"] == 34
    assert [inputs_of(phase, epoch, 60_000) for epoch in (0, 32, 33)] == [60_000, 60_000, 20_000]
    assert total_steps(phase, 60_000) == 33 * 938 + 313
    assert with_lengths({"schedule": [{"epochs": 3, "max_inputs": 999}]}, 10)["schedule"][0] == {
        "epochs": 3, "max_inputs": 999,
    }  # fmt: skip
    assert [validates({"epochs": 5, "validate_every": 2}, epoch) for epoch in range(5)] == [
        False, True, False, True, True,
    ]  # fmt: skip


def test_steps_fall_after_shares_of_the_phase():
    phase = {"epochs": 2, "warmup_epochs": 0, "lr_schedule": "step"}
    factors = [rate_factor(phase, step, 50) for step in (0, 59, 60, 84, 85, 99)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    factors = [rate_factor(phase | {"lr_steps": [0.5]}, step, 50, total=80) for step in (39, 40)]
    assert factors == pytest.approx([1, 0.1])


def test_the_average_follows_its_formula_and_leaves_the_weights_alone():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    averaged = Averaged(model, 0.5)
    expected = model[0].weight.detach().clone()
    for step in range(1, 8):
        with torch.no_grad():
            model[0].weight.add_(1.0)
        model[1](torch.randn(4, 2))
        averaged.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model[0].weight.detach()
    own = copy.deepcopy(model.state_dict())
    with averaged.in_place():
        assert torch.allclose(model[0].weight, expected)
        assert model[1].num_batches_tracked == 7
    assert all(torch.equal(own[name], value) for name, value in model.state_dict().items())


def test_the_average_is_what_is_validated_and_kept(study, tmp_path):
    """The weights themselves train as ever."""
    plain = train(study, tmp_path / "plain", settings_for(epochs=3))
    averaged = train(study, tmp_path / "averaged", settings_for(epochs=3, ema=0.99))
    same = ["train_loss", "train_accuracy"]
    rows = [pd.DataFrame(progress.history) for progress in (plain, averaged)]
    pd.testing.assert_frame_equal(rows[0][same], rows[1][same])
    assert (rows[0]["valid_loss"] != rows[1]["valid_loss"]).all()
    assert weights_bytes(tmp_path / "plain") != weights_bytes(tmp_path / "averaged")


def test_the_device_augments_as_the_loader_does(study, tmp_path):
    """Flips, shifts and erased rectangles are the same draws; SGD, for rounding may differ."""
    how = {"optimizer": "sgd", "lr": 0.01, "clip_norm": 0}
    how["augment"] = {"horizontal_flip": 0.5, "shift": 3, "random_erasing": 0.5}
    rows = [
        pd.DataFrame(train(study, tmp_path / where, settings_for(**how, augment_on=where)).history)
        for where in ("loader", "device")
    ]
    assert rows[0]["train_loss"].tolist() == pytest.approx(rows[1]["train_loss"].tolist(), abs=1e-4)


@pytest.mark.parametrize("network", [VIT, SMALL_RESNET, ENCODER])
def test_networks_learn_and_a_card_gives_them_back(study, tmp_path, network):
    progress = train(study, tmp_path, settings_for(network, epochs=3))
    losses = pd.DataFrame(progress.history)["train_loss"]
    assert losses.iloc[-1] < losses.iloc[0]
    model, card = load_run(tmp_path)
    assert card["architecture"]["kind"] == network["kind"]
    assert card["parameters"] == sum(one.numel() for one in model.parameters())
    (report,) = card["frozen"]
    assert report["frozen"] == 0
    assert report["trainable"] == card["parameters"]
    assert set(report["parts"].values()) == {"trains"}
    assert ("head" in report["parts"]) is False


def test_squared_errors_are_those_of_one_hot_targets():
    outputs, labels = torch.tensor([[0.5, 0.0], [0.0, 1.0]]), torch.tensor([0, 1])
    loss = SquaredError().losses(outputs, labels, outputs)["loss"]
    assert loss.item() == pytest.approx(0.25 / 4)
    smoothed = SquaredError(0.2).losses(torch.tensor([[0.9, 0.1]]), labels[:1], outputs)["loss"]
    assert smoothed.item() == pytest.approx(0, abs=1e-12)
    half = torch.tensor([[0.5, 0.5]])
    assert SquaredError().losses(half, half, half)["loss"] == 0


def test_shares_of_classes_count_for_the_larger():
    outputs = torch.tensor([[2.0, 1.0], [2.0, 1.0]])
    shares = torch.tensor([[0.6, 0.4], [0.3, 0.7]])
    counts = Classification().counts(outputs, shares)
    assert counts["accuracy"] == 1
    whole = Classification().losses(outputs, torch.eye(2), outputs)["loss"]
    assert whole == Classification().losses(outputs, torch.tensor([0, 1]), outputs)["loss"]


def test_a_study_without_a_base_expands(config):
    study = load_study(config)
    assert not study.based
    assert list(study.experiments) == ["vit_source", "vit_ours", "stem", "cnn"]
    assert study.datasets[study.dataset]["resize"] == 24
    source, ours = (study.runs[f"vit_{name}-s0"].settings for name in ("source", "ours"))
    assert (source["loss"], ours["loss"]) == ("mse", "cross_entropy")
    assert source["schedule"][0]["lr_schedule"] == "step"
    assert "ema" not in source["schedule"][0]
    assert ours["schedule"][0]["augment"]["cutmix"] == 1.0
    seen = {"image_size": 24, "mean": [0.2] * 3, "std": [0.25] * 3}
    assert source["preprocessing"] == seen
    assert next(iter(study.plain_networks)) == "base/cost-of-vit_source"


def test_a_matrix_makes_an_experiment_of_each_combination(config):
    vit = config["experiments"]["vit"]
    vit["matrix"] = {
        "network.num_heads": [1, 4], "schedule[0].lr": [0.1, 0.001], "recipe": ["ours"],
    }  # fmt: skip
    study = load_study(config)
    assert [name for name in study.experiments if name.startswith("vit")] == [
        "vit_num_heads_1_lr_0_1",
        "vit_num_heads_1_lr_0_001",
        "vit_num_heads_4_lr_0_1",
        "vit_num_heads_4_lr_0_001",
    ]
    last = study.runs["vit_num_heads_4_lr_0_001-s0"].settings
    assert last["network"]["num_heads"] == 4
    assert last["schedule"][0]["lr"] == 0.001
    assert last["schedule"][0]["label_smoothing"] == 0.1


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("cifar10", [3_195_146, 3_195_146, 3_619_403, 11_173_962]),
        (
            "fashion_mnist",
            [2_185_610, 2_185_610, 2_039_579, 2_185_610, 2_185_610, 2_185_610, 4_294_026, 4_294_026,
             4_469_178, 6_395_274, 8_510_858, 25_453_962, 11_243_466, 2_002_698],
        ),
    ],
)  # fmt: skip
def test_shipped_studies_have_the_sources_networks(name, parameters):
    study = load_study(read_yaml(STUDY.parents[2] / "config" / "studies" / f"{name}.yaml"))
    found = []
    for experiment in study.experiments.values():
        settings = study.runs[experiment.final_runs[0]].settings
        with torch.device("meta"):
            model = begin(settings, settings["preprocessing"]["image_size"], 10)
        found.append(sum(one.numel() for one in model.parameters()))
    assert found == parameters


def test_rates_left_out_are_those_of_a_network_that_knows_nothing(config):
    del config["recipes"]["source"]["lr"]
    phase = load_study(config).runs["cnn-s0"].settings["schedule"][0]
    assert (phase["lr"], phase["layer_decay"]) == (0.001, 1.0)


def test_networks_from_scratch_stand_beside_a_base(config):
    del config["images"]
    architecture = {key: VIT[key] for key in VIT if key != "kind"}
    config["base"] = {"source": "random", "image_size": 24, "architecture": architecture}
    config["experiments"]["frozen"] = {
        "method": "fine_tune", "schedule": [{"train": "head", "epochs": 1}],
    }  # fmt: skip
    study = load_study(config)
    assert study.based
    assert "preprocessing" not in study.runs["cnn-s0"].settings
    assert set(study.plain_networks) >= {"base/cost", "base/cost-of-cnn"}


BASE = {"source": "torchvision", "model": "vit_b_16"}
WRONG = {
    "neither base nor images": (("images", None), "base: missing; add it"),
    "both": (("base", BASE), "images: the base's image_size, mean and std hold"),
    "a method that has a base": (
        ("experiments.cnn", {"method": "fine_tune", "schedule": [{"train": "all", "epochs": 1}]}),
        "experiments.cnn.method: fine_tune starts from a base; add base",
    ),
    "frozen": (
        ("experiments.cnn.schedule", [{"train": "head", "epochs": 1}]),
        "experiments.cnn.schedule[0].train: 'head' is the plain model's; write all",
    ),
    "blocks": (
        ("experiments.cnn.schedule", [{"train": {"blocks": 1}, "epochs": 1}]),
        "experiments.cnn.schedule[0].train: a network of its own trains whole; write all",
    ),
    "no network": (("experiments.cnn.network", None), "experiments.cnn.network: missing"),
    "another start": (
        ("experiments.cnn.from", "stem"), "experiments.cnn.from: 'stem' is of method scratch",
    ),
    "patches that do not fit": (
        ("experiments.stem.network.patch_size", 16),
        "experiments.stem.network.patch_size: 24 px is no multiple of 16",
    ),
    "a part of another kind": (
        ("experiments.cnn.network.patch_size", 4),
        "experiments.cnn.network.patch_size: conv_encoder has no such part; it is for vit",
    ),
    "dropout": (
        ("experiments.cnn.dropout", 0.1), "experiments.cnn.dropout: conv_encoder has none",
    ),
    "a search over networks": (
        ("experiments.cnn.grid", {"parameters": {"network.embedding": [4, 8]}}),
        "experiments.cnn.grid.parameters.network.embedding: a search keeps one network's cost",
    ),
    "no such recipe": (
        ("experiments.cnn.recipe", "theirs"),
        "experiments.cnn.recipe: no recipe 'theirs'; recipes has source, ours",
    ),
    "a matrix of nothing": (
        ("experiments.vit.matrix", {"recipe": []}), "experiments.vit.matrix.recipe: [] has too few",
    ),
    "no such setting": (
        ("experiments.vit.matrix", {"schedule[3].lr": [1, 2]}),
        "experiments.vit.matrix.schedule[3].lr: no such setting; write a key such as lr",
    ),
    "a wrong value": (
        ("experiments.vit.matrix", {"network.num_heads": [2, 5]}),
        "experiments.vit_num_heads_5.network.num_heads: 5 does not divide hidden_dim 16",
    ),
    "a policy that the device does not know": (
        ("training", {"augment_on": "device", "augment": {"auto_augment": True}}),
        "schedule[0].augment_on: the device does not compute auto_augment; write loader",
    ),
    "two of one name": (
        ("experiments.vit_ours", {"method": "scratch"}),
        "experiments.vit_ours: a matrix makes another of this name; rename",
    ),
    "too many": (
        ("experiments.vit.matrix", {"lr": list(range(1, 40)), "batch_size": list(range(1, 40))}),
        "experiments.vit.matrix: 1,521 experiments, at most 1,000",
    ),
    "a name too long": (
        ("experiments.vit.matrix", {"recipe": ["source", "ours"], "x" * 60: [1, 2]}),
        "is longer than 60 letters",
    ),
    "a step beyond the phase": (("training.lr_steps", [0.5, 1.5]), "training.lr_steps[1]: 1.5 is too"),
    "images larger than the store": (
        ("dataset", {"source": "cifar10", "crop": 20, "resize": 24}),
        "images.size: 24 px, but dataset.crop stores 20 px",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "says"), WRONG.values(), ids=WRONG)
def test_mistakes_are_one_line_with_the_key(config, change, says):
    path, value = change
    *steps, last = path.split(".")
    place = config
    for step in steps:
        place = place[step]
    if value is None:
        place.pop(last, None)
    else:
        place[last] = value
    with pytest.raises(ConfigError) as error:
        load_study(config)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_mixed_labels_are_for_losses_that_take_them(config):
    del config["images"]
    config["base"] = BASE
    phase = {"train": "all", "epochs": 1, "augment": {"mixup": 0.2}}
    config["experiments"] = {"tuned": {"method": "fine_tune", "schedule": [phase]}}
    config["dataset"] = {"source": "cifar10"}
    said = "experiments.tuned.schedule[0].augment.mixup: fine_tune learns one class an image"
    with pytest.raises(ConfigError) as error:
        load_study(config)
    assert said in str(error.value)
