"""The base that ships with the embedded study is what the workflow's own rule makes."""

import importlib.util
import json
import warnings
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file

from frugalvit.config.reading import read_yaml
from frugalvit.config.study import load_study
from frugalvit.files import sha256_file
from frugalvit.provenance import environment
from tests.small_study import KilledError, killed_after
from tests.workflows import ROOT, copy_workflow, run

SHIPPED = ROOT / "config" / "bases" / "digits"
STORE = "data/digits_0_to_4/store"
ASSIGNMENTS = "results/digits/splits-pretrain/assignments.csv"
MADE = "results/digits/base/pretraining"
CALL = (
    *("--cores", "1", "--resources", "gpu=0", "--configfile", "config/config.yaml"),
    *("--config", "base={pretrain: {ready_made: null}}", "--"),
)
FROM = ("settings", "architecture", "preprocessing", "n", "sha256")  # keys of the card


@pytest.fixture
def card():
    return json.loads((SHIPPED / "card.json").read_text())


@pytest.fixture
def history():
    return pd.read_csv(SHIPPED / "history.csv").drop(columns="seconds")


def test_the_shipped_base_is_small_and_made_with_the_studys_settings(card, history, monkeypatch):
    monkeypatch.chdir(ROOT)
    study = load_study(read_yaml("config/config.yaml"))
    assert (SHIPPED / "weights.safetensors").stat().st_size < 1_000_000
    assert card["weights_sha256"] == sha256_file(SHIPPED / "weights.safetensors")
    assert card["settings"] == json.loads(json.dumps(study.pretrainings["base"].settings))
    assert study.datasets["digits_0_to_4"]["classes"] == ["0", "1", "2", "3", "4"]
    assert history["epoch"].tolist() == list(range(1, card["epochs"] + 1))
    kept = history.iloc[card["best_epoch"] - 1]
    assert kept[list(card["kept"])].to_dict() == card["kept"]


def job_of(study):
    """The rule's job, as its script sees it."""
    names = ("architecture", "image_size", "mean", "std")
    return SimpleNamespace(
        params=SimpleNamespace(
            settings=study.pretrainings["base"].settings,
            base={name: study.config["base"][name] for name in names},
            batch_size=study.config["evaluation"]["batch_size"],
            workers=0,
            halve=SimpleNamespace(value=False),
            digest="x",
        ),
        input=SimpleNamespace(store=[f"{STORE}/index.csv"], assignments=ASSIGNMENTS),
        output=SimpleNamespace(weights=f"{MADE}/weights.safetensors"),
        resources=SimpleNamespace(gpu=0, gpu_asked=0, cpu_processes=1),
        threads=1,
    )


def script():
    """The rule's script, as a module."""
    path = ROOT / "workflow" / "scripts" / "pretrain_base.py"
    spec = importlib.util.spec_from_file_location("pretrain_base", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.workflow
def test_the_rule_begins_as_the_shipped_base_did(card, history, tmp_path, monkeypatch):
    """Its data, its random start and its first epoch; `make test-slow` trains all of them."""
    folder = copy_workflow(tmp_path)
    run(folder, *CALL, ASSIGNMENTS)
    assert sha256_file(folder / STORE / "index.csv") == card["sha256"]["index"]
    assert sha256_file(folder / ASSIGNMENTS) == card["sha256"]["assignments"]
    monkeypatch.chdir(folder)
    monkeypatch.setattr("frugalvit.training.runs.Trainer", killed_after(1))
    with pytest.raises(KilledError):
        script().main(job_of(load_study(read_yaml("config/config.yaml"))))
    (first,) = torch.load(folder / MADE / "last.ckpt", weights_only=True)["progress"]["history"]
    expected = history.iloc[0]
    assert set(history) <= set(first)
    # Another processor rounds otherwise, which 313 steps amplify.
    assert first["lr"] == pytest.approx(expected["lr"])
    assert first["train_loss"] == pytest.approx(expected["train_loss"], rel=0.02)
    assert first["train_accuracy"] == pytest.approx(expected["train_accuracy"], abs=0.02)
    assert first["valid_accuracy"] == pytest.approx(expected["valid_accuracy"], abs=0.05)


@pytest.mark.slow
@pytest.mark.workflow
def test_the_rule_makes_the_shipped_base(card, history, tmp_path):
    folder = copy_workflow(tmp_path)
    run(folder, *CALL, f"{MADE}/weights.safetensors")
    made = json.loads((folder / MADE / "card.json").read_text())
    for key in (*FROM, "epochs", "best_epoch"):
        assert made[key] == card[key], key
    shipped_bytes = (SHIPPED / "weights.safetensors").read_bytes()
    if (folder / MADE / "weights.safetensors").read_bytes() == shipped_bytes:
        remade = pd.read_csv(folder / MADE / "history.csv").drop(columns="seconds")
        pd.testing.assert_frame_equal(remade, history, check_exact=True)
        return
    # Another processor or library rounds otherwise, and training amplifies it: then the figures of
    # the kept epoch must agree, and the tensors be of one make.
    same = all(made["environment"][key] == card["environment"][key] for key in environment())
    warnings.warn(
        f"the shipped base is not remade to the bit (same environment: {same})", stacklevel=1
    )
    shipped, remade = (
        load_file(place / "weights.safetensors") for place in (SHIPPED, folder / MADE)
    )
    assert shipped.keys() == remade.keys()
    assert made["kept"]["valid_accuracy"] == pytest.approx(card["kept"]["valid_accuracy"], abs=0.02)
