"""`compile: true`: the same training up to rounding, and none at all where no compiler is."""

import logging
import os
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from frugalvit.training import compiling
from frugalvit.training.compiling import Compiled
from tests.small_study import SGD, weights_of
from tests.test_scratch import VIT, settings_for, train
from tests.workflows import ROOT

NETWORK = VIT | {"num_layers": 1}


def test_compiled_training_is_the_same_up_to_rounding(study, tmp_path):
    if compiling.why_not("cpu"):
        pytest.skip("no C++ compiler works on this machine")
    # 96 images: two whole batches, which are compiled, and a smaller one, which is not.
    settings = settings_for(NETWORK, **SGD, batch_size=40) | {"dropout": 0.1}
    plain = train(study, tmp_path / "plain", settings)
    counters.clear()
    compiled = train(study, tmp_path / "compiled", settings | {"compile": True})
    assert counters["stats"]["unique_graphs"] == 1, "one size, in training alone"
    for row, other in zip(plain.history, compiled.history, strict=True):
        assert other["train_loss"] == pytest.approx(row["train_loss"], abs=1e-5)
        assert other["valid_loss"] == pytest.approx(row["valid_loss"], abs=1e-5)
    weights = [weights_of(tmp_path / run) for run in ("plain", "compiled")]
    assert weights[0].keys() == weights[1].keys(), "a run's files do not tell that it was compiled"
    for name, values in weights[0].items():
        torch.testing.assert_close(weights[1][name], values, atol=1e-5, rtol=1e-4)


def test_a_missing_compiler_is_found_out_in_one_line(tmp_path):
    """As on a machine without a C++ compiler, whatever an earlier job left in torch's cache."""
    code = "from frugalvit.training.compiling import why_not; print(why_not('cpu'))"
    missing = {"CXX": str(tmp_path / "no-compiler"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    paths = {"PYTHONPATH": str(ROOT / "workflow")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True, env=os.environ | missing | paths,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert len(lines) == 1
    assert "compiler" in lines[0].lower()


def test_without_a_compiler_training_says_so_in_one_line(study, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(compiling, "why_not", lambda kind: f"none for {kind}")
    caplog.set_level(logging.INFO)
    settings = settings_for(NETWORK, epochs=1)
    train(study, tmp_path / "plain", settings)
    train(study, tmp_path / "asked", settings | {"compile": True})
    told = [record.getMessage() for record in caplog.records if "compile" in record.getMessage()]
    assert told == ["compile: not compiled, for torch finds no working compiler (none for cpu)"]
    files = [(tmp_path / run / "weights.safetensors").read_bytes() for run in ("plain", "asked")]
    assert files[0] == files[1]


def test_what_is_not_a_whole_batch_that_trains_goes_through_the_network_itself(monkeypatch):
    calls = []
    monkeypatch.setattr(torch, "compile", lambda network, **_: calls.append)
    network = Compiled(nn.Identity(), 3).train()
    images = [torch.ones(count, 2) for count in (3, 2)]
    assert network(images[0]) is None
    assert network(images[1]) is images[1]
    assert network([images[0]]) is None, "a state: tensors of as many images"
    assert network.eval()(images[0]) is images[0]
    assert len(calls) == 2
    assert list(network.parameters()) == []
