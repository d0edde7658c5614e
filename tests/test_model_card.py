"""The model card of the answer: what it holds, nothing invented, and names that are only names."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from torch import tensor
from torchmetrics.functional.classification import multiclass_f1_score

from frugalvit.evaluation.card_files import write_card
from frugalvit.evaluation.model_card import (
    Chosen,
    command,
    macro_f1_interval,
    model_card,
    plain,
    table,
)
from frugalvit.files import write_csv, write_json

CLASSES = ["rose", "<b>|lotus_*", "fern"]
COUNTS = {"rose": 40, "<b>|lotus_*": 40, "fern": 120}


def predictions_of():
    label = np.repeat([0, 1, 2], [40, 40, 120])
    predicted = label.copy()
    predicted[:10] = 2  # roses taken for ferns
    ids = [f"i{k}" for k in range(200)]
    return pd.DataFrame({"id": ids, "split": "test", "label": label, "predicted": predicted})


def metrics_of(predictions):
    confusion = np.zeros((3, 3), dtype=int)
    np.add.at(confusion, (predictions["label"], predictions["predicted"]), 1)
    recall = (confusion.diagonal() / confusion.sum(axis=1)).tolist()
    return {
        "test": {
            "n": 200, "accuracy": 0.95, "macro_f1": 0.93, "ece": 0.02, "loss": 0.2,
            "recall_per_class": recall, "confusion": confusion.tolist(),
        }
    }  # fmt: skip


def chosen_of(**changes):
    predictions = predictions_of()
    answer = {
        "experiment": "tuned", "run": "tuned-s0", "method": "fine_tune", "setting": "", "value": None,
        "name": "tuned", "in_use": True, "seeds": "0 1", "n": 200, "accuracy": 0.94,
        "accuracy_sd": 0.014, "gflops": 1.5, "latency_ms": 3.25, "images_per_s": 400.0,
        "params_m": 5.5, "plain_latency_ms": 3.25,
    }  # fmt: skip
    card = {
        "method": "fine_tune", "classes": CLASSES, "device": "cpu (2 threads)", "seed": 0,
        "environment": {"torch": "2.12.1", "processor": "a processor"}, "train_seconds": 61.0,
        "peak_memory_mb": None, "preprocessing": {"image_size": 24, "mean": [0.5], "std": [0.25]},
        "square": {"resize": 28}, "sha256": {"base": "ba5e", "index": "1dec"}, "precision": "32-true",
        "weights_sha256": "abc123", "best_epoch": 2, "epochs": 3,
        "settings": {"schedule": [{"train": {"blocks": 2}, "epochs": 3}]},
    }  # fmt: skip
    summary = pd.DataFrame(
        {"experiment": "tuned", "run": ["tuned-s0", "tuned-s1"], "split": "test",
         "accuracy": [0.95, 0.93], "macro_f1": [0.93, 0.91], "ece": 0.02, "loss": 0.2,
         "warning": [None, "of the other seed"]}
    )  # fmt: skip
    report = {
        "sizes": {"train": 200, "valid": 0, "calibration": 0, "test": 200},
        "class_counts": {"train": COUNTS, "test": COUNTS},
    }
    checks = pd.DataFrame(
        {"check": ["imbalance", "group_leak"], "passed": [False, True], "found": [1, 0],
         "what": ["fern has 120 images, rose 40", ""]}
    )  # fmt: skip
    given = {
        "study": "made_up", "answer": answer, "asked": "at most 20 ms", "why": "the most accurate",
        "dataset": {"source": "folder", "name": "flowers"}, "card": card,
        "metrics": metrics_of(predictions), "predictions": predictions, "summary": summary,
        "report": report, "checks": checks, "base": {"source": "hub", "repository": "timm/deit"},
    }  # fmt: skip
    return Chosen(**(given | changes))


def test_the_card_holds_what_the_study_measured():
    text = model_card(chosen_of())
    for part in ("Data", "Metrics", "Cost", "Limits", "How to predict with it", "Provenance"):
        assert f"## {part}\n" in text
    assert "| rose | 40 | 40 | 75.0 (60 to 86) |" in text
    assert "| accuracy, % | 95.0 | 91.0 to 97.3 | 94.0 ± 1.4 |" in text
    assert "| ms for one image | 3.25 |" in text
    assert "peak memory" not in text  # it was not measured
    assert "Found least often of its test images: rose (75 % of 40)." in text
    assert "Taken most often: rose for fern (10)." in text
    assert "imbalance: fern has 120 images, rose 40" in text and "group leak" not in text
    assert "of the other seed" not in text
    assert ".venv/bin/frugalvit predict results/made_up/runs/tuned-s0 photos/" in text
    assert "| SHA-256 of weights.safetensors | abc123 |" in text
    assert "| base | hub, timm/deit |" in text
    assert "| trained | last 2 blocks, 3 epochs |" in text
    assert "unsure" not in text.lower()


def test_a_card_of_a_point_that_is_not_in_use_tells_no_classes():
    other = {"in_use": False, "setting": "budget", "value": 0.5, "name": "tuned (budget 0.5)"}
    of = chosen_of(answer={**chosen_of().answer, **other})
    text = model_card(of)
    assert command(of).endswith("tuned-s0 --point 'budget 0.5' photos/")
    assert "| accuracy, % | 94.0 ± 1.4 | 89.8 to 96.5 |" in text
    assert "| rose | 40 | 40 | - |" in text
    assert "Taken most often" not in text
    assert "how this one does on each class is not known" in text


def test_where_it_may_say_unsure_the_card_says_what_is_left():
    told = {
        "n": 200,
        "answered": 150,
        "coverage": 0.75,
        "selective_accuracy": 0.98,
        "note": "shown",
    }
    text = model_card(chosen_of(abstain=told))
    assert "| answered with --abstain, % | 75.0 | 69 to 80 | - |" in text
    assert "| right of these, % | 98.0 |" in text
    assert "- Unsure: shown." in text
    nothing = told | {"answered": 0, "coverage": 0.0, "selective_accuracy": float("nan")}
    assert "right of these" not in model_card(chosen_of(abstain=nothing))


def test_the_interval_of_macro_f1_holds_it_and_is_that_of_drawn_images():
    predictions = predictions_of()
    low, high = macro_f1_interval(predictions, 3)

    def macro_f1(own):
        found, true = tensor(own["predicted"].to_numpy()), tensor(own["label"].to_numpy())
        return multiclass_f1_score(found, true, 3, average="macro").item()

    assert low < macro_f1(predictions) < high
    rng = np.random.default_rng(1)
    drawn = [macro_f1(predictions.iloc[rng.integers(200, size=200)]) for _ in range(1000)]
    assert (low, high) == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=0.01)


def test_a_name_is_nothing_but_a_name():
    assert plain("<b>|*x*\n# y") == "&lt;b&gt;\\|\\*x\\* \\# y"
    assert table(["a|b"], [["<i>"]]) == "| a\\|b |\n| --- |\n| &lt;i&gt; |"


def test_both_files_are_written_and_the_page_shows_the_names(tmp_path):
    of = chosen_of()
    folder = tmp_path / "runs" / "tuned-s0"
    for name, value in (("card", of.card), ("metrics", of.metrics)):
        write_json(folder / f"{name}.json", value)
    write_json(tmp_path / "report.json", of.report)
    write_csv(tmp_path / "checks.csv", of.checks)
    files = SimpleNamespace(
        cards=[folder / "card.json"], metrics=[folder / "metrics.json"], base=[], abstain=[],
        report=tmp_path / "report.json", checks=tmp_path / "checks.csv",
    )  # fmt: skip
    record = {"study": "made_up", "answer": of.answer, "asked": of.asked, "why": of.why}
    record |= {"text": ["none"]}
    paths = [str(tmp_path / "card.md"), str(tmp_path / "card.html")]
    about = (of.dataset, {"tuned-s0": of.predictions}, of.summary, files)
    write_card(*paths, record, *about)
    page = (tmp_path / "card.html").read_text()
    assert "<td>&lt;b&gt;|lotus_*</td>" in page and "<b>|lotus" not in page
    assert page.count("<table>") == page.count("<div class='wide'><table>") == 4
    assert "http" not in page
    write_card(*paths, {**record, "answer": None}, *about)
    assert (tmp_path / "card.md").read_text() == "# No model to take\n\nnone\n"
