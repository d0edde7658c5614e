"""The base that ships with the embedded study is what the workflow's own rule makes."""

import json
import warnings

import pytest
from safetensors.numpy import load_file

from frugalvit.config.schema import read_yaml
from frugalvit.config.study import load_study
from frugalvit.provenance import environment
from tests.workflows import ROOT, copy_workflow, run

SHIPPED = ROOT / "config" / "bases" / "digits"
MADE = "results/digits/base/pretraining"


@pytest.fixture
def card():
    return json.loads((SHIPPED / "card.json").read_text())


def test_the_shipped_base_is_small_and_made_with_the_studys_settings(card, monkeypatch):
    monkeypatch.chdir(ROOT)
    study = load_study(read_yaml("config/config.yaml"))
    assert (SHIPPED / "weights.safetensors").stat().st_size < 1_000_000
    assert card["settings"] == json.loads(json.dumps(study.pretraining))
    assert study.datasets["digits_0_to_4"]["classes"] == ["0", "1", "2", "3", "4"]


@pytest.mark.workflow
def test_the_rule_makes_the_shipped_base(card, tmp_path):
    folder = copy_workflow(tmp_path)
    run(
        folder,
        *("--cores", "1", "--resources", "gpu=0", "--configfile", "config/config.yaml"),
        *("--config", "base={pretrain: {ready_made: null}}", "--", f"{MADE}/weights.safetensors"),
    )
    made = json.loads((folder / MADE / "card.json").read_text())
    for key in ("settings", "architecture", "preprocessing", "n", "epochs", "best_epoch", "sha256"):
        assert made[key] == card[key], key
    shipped_bytes = (SHIPPED / "weights.safetensors").read_bytes()
    if (folder / MADE / "weights.safetensors").read_bytes() == shipped_bytes:
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
