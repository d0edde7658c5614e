"""Tokens that learn to halt through the one loop: repeated, resumed, taught, kept to a cost."""

import copy
import dataclasses
import json
import math

import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from frugalvit.config.experiments import run_settings
from frugalvit.config.schema import merge, validate
from frugalvit.data.batches import ImageSet
from frugalvit.data.store import Store
from frugalvit.devices.fabric import make_fabric
from frugalvit.files import sha256_file
from frugalvit.methods.avit.model import AViT
from frugalvit.methods.avit.objective import LARGEST_STEP
from frugalvit.methods.avit.packing import Packed
from frugalvit.methods.tokens.leaving import answer
from frugalvit.methods.trained import MethodRecipe, load_run
from frugalvit.models.base import load_base
from frugalvit.training.runs import train_run
from tests.small_study import (
    SGD,
    KilledError,
    files_of,
    killed_after,
    method_settings,
    weights_bytes,
)

HEAD, ALL = {"train": "head", "epochs": 1}, {"train": "all", "epochs": 3}
HALTING = {"gamma": 10, "beta": -4}
TAUGHT = {"weight": 0.5}
RANDOM = {"augment": {"shift": 2}, "dropout": 0.1, "stochastic_depth": 0.3}


def settings_for(*phases, method="avit", seed=0, halting=HALTING, distillation=None, **training):
    """A run's settings, as the study would expand them."""
    defaults = merge(validate({}, "training"), {"batch_size": 32, "lr": 0.003, **training})
    keys = {"halting": halting, "distillation": distillation or {}} if method == "avit" else {}
    own = method_settings(method, **copy.deepcopy(keys))
    return run_settings(method, seed, defaults, list(phases)) | own


def train(study, folder, settings, cached=True, **files):
    """Train, after other draws from torch's generator; the run's history."""
    torch.rand(len(str(folder)))
    files = dataclasses.replace(files_of(study, folder, cached), **files)
    train_run(
        make_fabric(0, 1),
        "mine-s0",
        settings,
        files,
        MethodRecipe(settings["method"]),
        batch_size=32,
        workers=0,
        code="x",
    )
    return pd.read_csv(folder / "history.csv")


def card_of(folder):
    return json.loads((folder / "card.json").read_text())


def validation_images(study):
    store = Store(study / "store")
    return ImageSet(store, store.ids("valid"), load_base(study / "base")[1]["preprocessing"])


@pytest.fixture(scope="module")
def teacher(study, tmp_path_factory):
    """A plain run, to start from or to learn from."""
    folder = tmp_path_factory.mktemp("teacher")
    train(study, folder, settings_for(ALL, method="fine_tune"))
    return folder


KINDS = {
    "weight given": {},
    "cost wished": {"halting": HALTING | {"target_gflops": 0.00015}},
    "taught": {"distillation": TAUGHT},
}


@pytest.fixture(scope="module")
def whole(study, teacher, tmp_path_factory):
    """Runs that nothing interrupted: kind -> settings, inputs, folder."""
    runs = {}
    for kind, changes in KINDS.items():
        folder = tmp_path_factory.mktemp("whole")
        settings = settings_for(HEAD, ALL, **RANDOM, **changes)
        files = {"teacher": teacher} if "distillation" in changes else {}
        train(study, folder, settings, **files)
        runs[kind] = settings, files, folder
    return runs


@pytest.mark.parametrize("kind", KINDS)
def test_one_seed_gives_one_file_and_another_gives_another(study, whole, tmp_path, kind):
    settings, files, folder = whole[kind]
    train(study, tmp_path / "again", settings, **files)
    train(study, tmp_path / "other", settings | {"seed": 1}, **files)
    assert weights_bytes(tmp_path / "again") == weights_bytes(folder)
    assert weights_bytes(tmp_path / "other") != weights_bytes(folder)


@pytest.mark.parametrize("last_epoch", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_killed_in_any_epoch_ends_as_one_never_killed(
    study, whole, tmp_path, monkeypatch, kind, last_epoch
):
    settings, files, unbroken = whole[kind]
    monkeypatch.setattr("frugalvit.training.runs.Trainer", killed_after(last_epoch))
    with pytest.raises(KilledError):
        train(study, tmp_path, settings, **files)
    assert (tmp_path / "last.ckpt").exists()
    monkeypatch.undo()
    history = train(study, tmp_path, settings, **files)
    assert card_of(tmp_path)["resumed_after"] == [last_epoch]
    assert weights_bytes(tmp_path) == weights_bytes(unbroken)
    expected = pd.read_csv(unbroken / "history.csv")
    pd.testing.assert_frame_equal(
        history.drop(columns="seconds"), expected.drop(columns="seconds"), check_exact=True
    )


@pytest.mark.parametrize("kind", KINDS)
def test_history_is_what_the_kept_model_says_of_plain_validation_images(study, whole, kind):
    """Training draws views, dropout and depth at random; validation does not."""
    *_, folder = whole[kind]
    model, card = load_run(folder)
    images = validation_images(study)
    found = answer(make_fabric(0, 1), model, images, 11)
    row = pd.read_csv(folder / "history.csv").iloc[card["best_epoch"] - 1]
    task = F.cross_entropy(found.logits, images.labels).item()
    accuracy = (found.logits.argmax(1) == images.labels).double().mean().item()
    assert row["valid_task"] == pytest.approx(task, rel=1e-5)
    assert row["valid_accuracy"] == pytest.approx(accuracy)
    assert len(found.depths.unique()) > 1, "choose gamma and beta so that tokens differ"
    assert 1 < row["valid_ponder"] < 2 + card["architecture"]["num_layers"]
    # Packed, the model costs what was counted while it trained.
    gflops = Packed(model.eval()).image_gflops(found.depths)
    assert row["valid_gflops"] == pytest.approx(sum(gflops) / len(gflops), rel=1e-5)


def test_stochastic_depth_trains_and_changes_the_result(study, tmp_path):
    whole = settings_for(ALL)
    train(study, tmp_path / "whole", whole)
    train(study, tmp_path / "dropped", settings_for(ALL, stochastic_depth=0.5))
    assert weights_bytes(tmp_path / "whole") != weights_bytes(tmp_path / "dropped")
    names = [set(load_run(tmp_path / run)[0].state_dict()) for run in ("whole", "dropped")]
    assert names[0] == names[1]


def test_a_head_phase_costs_no_backbone_pass_and_trains_the_head(study, tmp_path, monkeypatch):
    passes = []
    original = torch.nn.Conv2d.forward

    def counted(self, pixels):
        passes.append(len(pixels))
        return original(self, pixels)

    monkeypatch.setattr(torch.nn.Conv2d, "forward", counted)
    monkeypatch.setattr("frugalvit.training.runs.Trainer", killed_after(4))
    with pytest.raises(KilledError):
        train(study, tmp_path, settings_for(HEAD | {"epochs": 4}, ALL))
    assert not passes
    monkeypatch.undo()
    history = train(study, tmp_path, settings_for(HEAD | {"epochs": 4}, ALL))
    head = history[history["train"] == "head"]
    assert head["train_loss"].is_monotonic_decreasing
    assert head[["alpha_ponder", "valid_gflops", "valid_ponder"]].isna().all().all()
    late = history[history["train"] == "all"]
    assert (
        late[["alpha_ponder", "valid_gflops", "valid_ponder", "valid_macro_f1"]].notna().all().all()
    )


def test_a_head_phase_without_cached_features_learns_the_same(study, tmp_path):
    phases = HEAD | {"epochs": 2}, ALL | {"epochs": 1}
    cached = train(study, tmp_path / "cached", settings_for(*phases, **SGD))
    live = train(study, tmp_path / "live", settings_for(*phases, cache_features=False, **SGD))
    for column in ("train_loss", "valid_loss", "valid_accuracy"):
        assert live[column].tolist() == pytest.approx(cached[column].tolist(), abs=1e-4)


@pytest.mark.parametrize("target", [None, 0.00015])
def test_the_epoch_of_a_head_phase_is_never_the_kept_one(study, tmp_path, target):
    # Every token halts after the first block, which the trained head has never read.
    halting = HALTING | {"beta": 50, "target_gflops": target}
    still = ALL | {"lr": 1e-30, "epochs": 2}
    settings = settings_for(HEAD | {"epochs": 20, "lr": 0.03}, still, halting=halting)
    history = train(study, tmp_path, settings)
    warm_up, halted = history[:20], history[20:]
    assert warm_up["valid_accuracy"].max() > halted["valid_accuracy"].max()
    assert card_of(tmp_path)["best_epoch"] > 20


def test_the_weight_of_ponder_is_recorded_and_stays_without_a_target(whole):
    *_, folder = whole["weight given"]
    history = pd.read_csv(folder / "history.csv")
    assert math.isnan(history["alpha_ponder"][0])
    assert history["alpha_ponder"][1:].tolist() == [0.0005] * 3


@pytest.mark.parametrize(("target", "grows"), [(0.0000001, True), (1.0, False)])
def test_a_wished_cost_moves_the_weight_between_epochs(study, tmp_path, target, grows):
    halting = HALTING | {"alpha_ponder": 0.01, "target_gflops": target}
    history = train(study, tmp_path, settings_for(HEAD, ALL, halting=halting))
    weights = history["alpha_ponder"].dropna().tolist()
    assert weights[0] == 0.01
    factor = math.exp(LARGEST_STEP if grows else -LARGEST_STEP)
    assert weights == pytest.approx([0.01, 0.01 * factor, 0.01 * factor**2])
    assert card_of(tmp_path)["kept"]["alpha_ponder"] in weights


def test_the_weight_stays_after_an_epoch_that_was_not_validated(study, tmp_path):
    """It follows the cost, which such an epoch does not tell."""
    halting = HALTING | {"alpha_ponder": 0.01, "target_gflops": 0.0000001}
    phase = ALL | {"epochs": 5, "validate_every": 2}
    history = train(study, tmp_path, settings_for(phase, halting=halting))
    assert history["valid_gflops"].notna().tolist() == [False, True, False, True, True]
    factor = math.exp(LARGEST_STEP)
    expected = [1, 1, factor, factor, factor**2]
    assert history["alpha_ponder"].tolist() == pytest.approx([0.01 * each for each in expected])


def test_a_wished_cost_is_met_where_a_given_weight_misses_it(study, tmp_path):
    phases = [ALL | {"epochs": 12}]
    free = train(study, tmp_path / "free", settings_for(*phases))
    wished = 0.85 * free["valid_gflops"].iloc[-1]
    halting = HALTING | {"target_gflops": wished}
    train(study, tmp_path / "held", settings_for(*phases, halting=halting))
    kept = card_of(tmp_path / "held")["kept"]
    assert free["valid_gflops"].min() > wished, "this test needs a cost that is not met by itself"
    assert kept["valid_gflops"] <= wished
    history = pd.read_csv(tmp_path / "held" / "history.csv")
    met = history[history["valid_gflops"] <= wished]
    assert kept["valid_accuracy"] == met["valid_accuracy"].max()


def test_without_a_target_the_least_loss_is_kept(whole):
    *_, folder = whole["weight given"]
    history = pd.read_csv(folder / "history.csv")
    losses = history.loc[history["train"] == "all", "valid_loss"]
    assert card_of(folder)["best_epoch"] == history["epoch"][losses.idxmin()]


def test_a_teacher_is_heard_in_training_alone_and_left_as_it_was(study, teacher, whole):
    before = sha256_file(teacher / "weights.safetensors")
    *_, folder = whole["taught"]
    history = pd.read_csv(folder / "history.csv")
    assert (history["train_distillation"][1:] > 0).all()
    assert "valid_distillation" not in history
    card = card_of(folder)
    assert card["sha256"]["teacher"] == before == sha256_file(teacher / "weights.safetensors")
    assert weights_bytes(folder) != weights_bytes(whole["weight given"][-1])
    assert "teacher" not in card_of(whole["weight given"][-1])["sha256"]


def test_another_teacher_teaches_another_model(study, teacher, whole, tmp_path):
    train(study, tmp_path / "other", settings_for(ALL, method="fine_tune", seed=9))
    settings, _, folder = whole["taught"]
    train(study, tmp_path / "mine", settings, teacher=tmp_path / "other")
    assert weights_bytes(tmp_path / "mine") != weights_bytes(folder)


def test_a_card_says_how_tokens_halt_and_the_model_is_loaded_so(whole):
    *_, folder = whole["cost wished"]
    model, card = load_run(folder)
    assert card["method"] == "avit"
    assert card["halting"] == {"gamma": 10, "beta": -4, "eps": 0.01}
    assert {"valid_accuracy", "valid_loss", "valid_gflops", "alpha_ponder"} <= set(card["kept"])
    assert [phase["train"] for phase in card["frozen"]] == ["head", "all"]
    assert isinstance(model, AViT)
    assert (model.gamma, model.beta, model.eps) == (10, -4, 0.01)


def test_a_run_starts_from_another_with_its_head(study, teacher, tmp_path):
    still = ALL | {"epochs": 1, "lr": 1e-30}
    history = train(study, tmp_path, settings_for(still, halting={"beta": -1e4}), source=teacher)
    model, card = load_run(tmp_path)
    source, source_card = load_run(teacher)
    for name, weight in source.state_dict().items():
        assert torch.equal(model.state_dict()[f"backbone.{name}"], weight), name
    # No score ever cumulates: as accurate as the run that it starts from.
    assert history["valid_accuracy"][0] == pytest.approx(source_card["kept"]["valid_accuracy"])
    assert card["source"] == teacher.name
    assert card["train_seconds"] > card["own_train_seconds"]


def test_the_loops_schedules_hold_for_halting_too(study, tmp_path):
    still = {"train": "all", "epochs": 9, "lr": 1e-30, "early_stopping": 2}
    stopped = train(study, tmp_path / "stopped", settings_for(still))
    assert len(stopped) == 3, "one epoch, and two that are no better"
    plateau = {"train": "all", "epochs": 3, "lr": 1e-30, "lr_schedule": "plateau"}
    lowered = train(study, tmp_path / "lowered", settings_for(plateau | {"plateau_patience": 0}))
    assert lowered["lr"].tolist() == pytest.approx([1e-30, 1e-30, 1e-31], rel=1e-3)


def test_the_last_blocks_alone_can_learn_to_halt(study, tmp_path):
    settings = settings_for({"train": {"blocks": 1}, "epochs": 1}, keep="last")
    train(study, tmp_path, settings)
    base, _ = load_base(study / "base")
    trained = load_run(tmp_path)[0].backbone.state_dict()
    changed = {name for name in base if not torch.equal(base[name], trained[name])}
    assert changed
    assert all("encoder_layer_2" in name or name.startswith("encoder.ln") for name in changed)
