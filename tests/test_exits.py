"""Early exits train, all of them, and leave the plain model as it was."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from frugalvit.config.experiments import run_settings
from frugalvit.config.schema import merge, validate
from frugalvit.data.batches import ImageSet
from frugalvit.data.feature_files import read_features
from frugalvit.data.store import Store
from frugalvit.devices.fabric import make_fabric
from frugalvit.errors import ConfigError
from frugalvit.evaluation.predict import predict, predict_from_features
from frugalvit.evaluation.probes import probe_blocks
from frugalvit.methods.early_exit.model import EarlyExits, exit_blocks
from frugalvit.methods.early_exit.objective import ExitClassification
from frugalvit.methods.trained import MethodRecipe, load_run
from frugalvit.models.backbone import build
from frugalvit.models.base import load_base
from frugalvit.training.runs import RunFiles, train_run
from tests.small_study import (
    SGD,
    KilledError,
    files_of,
    killed_after,
    method_settings,
    weights_bytes,
)

ARCHITECTURE = {
    "image_size": 24, "patch_size": 8, "num_layers": 4, "num_heads": 2, "hidden_dim": 16,
    "mlp_dim": 32,
}  # fmt: skip
HEADS = {
    "linear": {"kind": "linear", "shallow": None, "shallow_blocks": 1, "hidden_dim": 8},
    "mlp": {"kind": "mlp", "shallow": None, "shallow_blocks": 1, "hidden_dim": 8},
    "conv": {"kind": "conv", "shallow": None, "shallow_blocks": 1, "hidden_dim": 8},
    "shallow conv": {"kind": "linear", "shallow": "conv", "shallow_blocks": 2, "hidden_dim": 8},
}
FILES = ("folder", "store", "assignments", "base", "features")
NO_DISTILLATION = {"weight": 0.0, "temperature": 2.0}


def make_model(head="linear", exits="all", classes=5):
    torch.manual_seed(0)
    backbone = build(ARCHITECTURE, classes)
    torch.nn.init.normal_(backbone.heads.head.weight)
    return EarlyExits(backbone, exit_blocks(exits, 4), HEADS[head]).eval()


def settings_for(*phases, seed=0, exits=None, **training):
    defaults = merge(validate({}, "training"), {"batch_size": 32, **training})
    settings = run_settings("early_exit", seed, defaults, [{"epochs": 1, **p} for p in phases])
    return settings | method_settings("early_exit", **(exits or {}))


def train(files, settings):
    progress = train_run(
        make_fabric(0, 1),
        "exits-s0",
        settings,
        files,
        MethodRecipe(settings["method"]),
        batch_size=32,
        workers=0,
        code="x",
    )
    return load_run(files.folder)[0], progress


def images_of(study, split):
    store = Store(study / "store")
    return ImageSet(store, store.ids(split), load_base(study / "base")[1]["preprocessing"])


@pytest.mark.parametrize("head", HEADS)
def test_with_every_exit_ignored_the_logits_are_the_plain_models(head):
    model = make_model(head)
    images = torch.randn(3, 3, 24, 24)
    with torch.inference_mode():
        logits = model(images)
        assert torch.equal(logits[:, -1], model.backbone(images))
    assert logits.shape == (3, 4, 5)
    assert len({tuple(row.tolist()) for row in logits[0]}) == 4


def test_exits_stand_where_they_are_asked_for():
    assert exit_blocks("all", 4) == [1, 2, 3, 4]
    assert exit_blocks([3, 1], 4) == [1, 3, 4]
    with pytest.raises(ConfigError, match="no exit before the last block"):
        exit_blocks([4], 4)
    with pytest.raises(ConfigError, match="exit after block 5, but the base has 4 blocks"):
        exit_blocks([2, 5], 4)
    model = make_model(exits=[3, 1])
    assert [block for block, _ in model.outputs(torch.randn(1, 3, 24, 24))] == [1, 3, 4]
    assert list(model.exits) == ["1", "3"]


def test_an_exit_reads_its_own_block_alone():
    model = make_model("shallow conv")
    images = torch.randn(2, 3, 24, 24)
    with torch.inference_mode():
        before = model(images)
        torch.nn.init.normal_(model.backbone.encoder.layers[2].mlp[0].weight)
        after = model(images)
    same = [torch.equal(before[:, place], after[:, place]) for place in range(4)]
    assert same == [True, True, False, False]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("train_what", ["heads", "all"])
def test_after_one_step_every_heads_weights_have_changed(study, tmp_path, head, train_what):
    """The failure of the source: its eleven heads got no updates at all."""
    exits = {"exit_head": {**HEADS[head]}}
    settings = settings_for({"train": train_what, "batch_size": 96}, exits=exits, keep="last")
    untouched = settings_for({"train": train_what, "lr": 1e-30}, exits=exits, keep="last")
    trained, _ = train(files_of(study, tmp_path / "a"), settings)
    start, _ = train(files_of(study, tmp_path / "b"), untouched)
    before, after = start.state_dict(), trained.state_dict()
    heads = [name for name in before if name.startswith(("exits.", "backbone.heads."))]
    assert len({name.split(".")[1] for name in heads}) == 3  # exits 1 and 2, the model's own
    still = [name for name in heads if torch.allclose(before[name], after[name], rtol=0, atol=1e-9)]
    assert not still
    blocks = [name for name in before if "encoder_layer" in name and "weight" in name]
    moved = [not torch.equal(before[name], after[name]) for name in blocks]
    assert any(moved) == (train_what == "all")


@pytest.mark.parametrize("head", HEADS)
def test_every_head_overfits_32_images(head):
    model = make_model(head, classes=4).train()
    torch.manual_seed(1)
    images, labels = torch.randn(32, 3, 24, 24), torch.randint(4, (32,))
    for parameter in model.backbone.encoder.parameters():
        parameter.requires_grad_(False)
    objective = ExitClassification(model.exit_after, 1.0, NO_DISTILLATION)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.05)
    for _ in range(150):
        loss = objective.losses(model(images), labels, images)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.inference_mode():
        answers = model(images).argmax(dim=2)
    assert (answers == labels[:, None]).float().mean(dim=0).min() == 1


def test_predictions_of_each_exit_vary_across_images_and_beat_chance(study, tmp_path):
    settings = settings_for({"train": "heads", "epochs": 80, "lr": 0.03}, keep="last")
    model, progress = train(files_of(study, tmp_path), settings)
    images = images_of(study, "train")
    answers = predict(make_fabric(0, 1), model, images, 32).argmax(dim=2)
    for place in range(3):
        assert answers[:, place].unique().numel() >= 5
        assert (answers[:, place] == images.labels).float().mean() > 0.3
    row = progress.history[-1]
    own = [row[f"valid_accuracy_exit_{block}"] for block in (1, 2, 3)]
    assert row["valid_accuracy"] == pytest.approx(np.average(own, weights=[1, 2, 3]))


def test_no_head_gets_the_softmax_twice():
    """Logits far apart must give a probability near 1, which a second softmax cannot."""
    logits = torch.zeros(1, 3, 5)
    logits[..., 2] = 50.0
    objective = ExitClassification([1, 2, 3], 0.0, NO_DISTILLATION)
    assert objective.losses(logits, torch.tensor([2]), None)["loss"] < 1e-6


def test_losses_weigh_depth_and_learn_from_the_full_model():
    torch.manual_seed(0)
    logits = torch.randn(8, 3, 5, requires_grad=True)
    labels = torch.randint(5, (8,))
    each = [torch.nn.functional.cross_entropy(logits[:, k], labels) for k in range(3)]
    losses = ExitClassification([2, 4, 6], 1.0, NO_DISTILLATION).losses(logits, labels, None)
    expected = (each[0] * 1 + each[1] * 2 + each[2] * 3) / 6
    assert losses["loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    taught = ExitClassification([2, 4, 6], 1.0, {"weight": 1.0, "temperature": 2.0})
    (gradient,) = torch.autograd.grad(taught.losses(logits, labels, None)["loss"], logits)
    alone = torch.autograd.grad(each[2] * 3 / 6, logits)[0]
    assert torch.allclose(gradient[:, 2], alone[:, 2], atol=1e-6)  # the teacher learns from labels
    assert gradient[:, 0].abs().sum() > 0
    same = logits[:, -1:].expand(-1, 3, -1)
    assert taught.losses(same, labels, None)["distillation"].abs() < 1e-6


@pytest.mark.parametrize("head", ["linear", "shallow conv"])
def test_cached_and_live_exits_agree(study, tmp_path, head):
    exits = {"exit_head": HEADS[head], "exits": [1, 3]}
    phase = {"train": "heads", "epochs": 2, **SGD}
    cached, _ = train(files_of(study, tmp_path / "a"), settings_for(phase, exits=exits))
    live, _ = train(
        files_of(study, tmp_path / "b"), settings_for(phase, exits=exits, cache_features=False)
    )
    one, other = cached.state_dict(), live.state_dict()
    assert max((one[name] - other[name]).abs().max() for name in one) < 1e-5
    assert not list(tmp_path.glob("*/.tokens-*"))
    if head == "linear":
        images, fabric = images_of(study, "valid"), make_fabric(0, 1)
        features = read_features(study / "features" / "plain", images, [1, 3])[:, 0]
        from_cache = predict_from_features(fabric, cached, features, 20)
        assert torch.allclose(from_cache, predict(fabric, cached, images, 7), atol=1e-5)


@pytest.mark.parametrize("last_epoch", [1, 2, 3])
def test_a_killed_run_with_exits_ends_as_one_never_killed(study, tmp_path, monkeypatch, last_epoch):
    settings = settings_for(
        {"train": "heads", "epochs": 2}, {"train": {"blocks": 2}}, {"train": "exits"},
        exits={"exit_head": HEADS["shallow conv"]},
    )  # fmt: skip
    train(files_of(study, tmp_path / "whole"), settings)

    monkeypatch.setattr("frugalvit.training.runs.Trainer", killed_after(last_epoch))
    with pytest.raises(KilledError):
        train(files_of(study, tmp_path / "killed"), settings)
    monkeypatch.undo()
    (tmp_path / "killed" / ".tokens-left").mkdir()  # what SIGKILL leaves behind
    _, progress = train(files_of(study, tmp_path / "killed"), settings)
    assert progress.resumed_after == [last_epoch]
    assert weights_bytes(tmp_path / "killed") == weights_bytes(tmp_path / "whole")
    assert not list((tmp_path / "killed").glob(".tokens-*"))


def test_exits_on_another_run_leave_that_runs_model_as_it_is(study, tmp_path):
    defaults = merge(validate({}, "training"), {"batch_size": 32})
    tuned = run_settings("fine_tune", 0, defaults, [{"train": "all", "epochs": 2, "lr": 0.003}])
    train(files_of(study, tmp_path / "tuned"), tuned)
    plain = files_of(study, tmp_path / "exits", cached=False)
    files = RunFiles(
        plain.folder, plain.store, plain.assignments, plain.base, {}, tmp_path / "tuned"
    )
    model, _ = train(files, settings_for({"train": "exits", "epochs": 3}))
    source = load_run(tmp_path / "tuned")[0].state_dict()
    kept = model.backbone.state_dict()
    assert all(torch.equal(source[name], kept[name]) for name in source)
    cards = [json.loads((tmp_path / run / "card.json").read_text()) for run in ("tuned", "exits")]
    assert cards[1]["source"] == "tuned"
    total = cards[0]["train_seconds"] + cards[1]["own_train_seconds"]
    assert cards[1]["train_seconds"] == pytest.approx(total)


def test_a_changed_source_discards_the_checkpoint(study, tmp_path, monkeypatch, caplog):
    defaults = merge(validate({}, "training"), {"batch_size": 32})
    tuned = run_settings("fine_tune", 0, defaults, [{"train": "all", "epochs": 1}])
    for name, seed in (("tuned", 0), ("other", 1)):
        train(files_of(study, tmp_path / name), tuned | {"seed": seed})
    settings = settings_for({"train": "exits", "epochs": 2})

    def start(source):
        plain = files_of(study, tmp_path / "exits", cached=False)
        return train(RunFiles(*[getattr(plain, key) for key in FILES], source), settings)

    monkeypatch.setattr("frugalvit.training.runs.Trainer", killed_after(1))
    with pytest.raises(KilledError):
        start(tmp_path / "tuned")
    monkeypatch.undo()
    with caplog.at_level("INFO"):
        _, progress = start(tmp_path / "other")
    assert "discarded" in caplog.text
    assert progress.resumed_after == []


def test_a_shallower_base_reads_its_own_last_block(study, tmp_path):
    defaults = merge(validate({}, "training"), {"batch_size": 32})
    settings = run_settings("fine_tune", 0, defaults, [{"train": "head", "epochs": 2, **SGD}])
    cached, _ = train(files_of(study, tmp_path / "a"), settings | {"keep_blocks": 2})
    live, _ = train(
        files_of(study, tmp_path / "b"), settings | {"keep_blocks": 2, "cache_features": False}
    )
    assert len(cached.encoder.layers) == 2
    assert torch.allclose(cached.heads.head.weight, live.heads.head.weight, atol=1e-5)
    with pytest.raises(ConfigError, match=r"experiments.exits: 9 blocks kept, but the base has 3"):
        train(files_of(study, tmp_path / "c"), settings | {"keep_blocks": 9})


def test_the_log_has_one_line_of_exits_an_epoch(study, tmp_path, caplog):
    with caplog.at_level("INFO"):
        _, progress = train(
            files_of(study, tmp_path), settings_for({"train": "heads", "epochs": 2})
        )
    lines = [line for line in caplog.messages if "exit" in line and "train" not in line]
    last = progress.history[-1]
    words = [f"{last[f'valid_accuracy_exit_{block}']:.4f} ({block})" for block in (1, 2, 3)]
    assert len(lines) == 2
    assert lines[-1].endswith(", ".join(words))
    history = pd.read_csv(tmp_path / "history.csv")
    assert {"train_cross_entropy", "valid_distillation"} <= set(history.columns)


def test_probes_see_what_is_there_and_nothing_else():
    generator = np.random.default_rng(0)
    labels = {split: generator.integers(0, 3, 120) for split in ("train", "valid")}
    features = {}
    for split, classes in labels.items():
        values = generator.normal(size=(120, 2, 2, 6)).astype(np.float32)
        values[np.arange(120), 1, 1, classes] += 6  # block 2, patch mean
        features[split] = values
    table = probe_blocks(features, labels, ("valid",)).set_index("block")["accuracy"]
    assert table[1] < 0.55
    assert table[2] > 0.95
