"""The report's captions are clean reStructuredText that states each figure's parameters."""

import io
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest

from frugalvit.config.study import load_study

CAPTIONS = sorted((Path(__file__).resolve().parents[1] / "workflow" / "report").glob("*.rst"))
STUDY = {
    "study": "made_up",
    "seeds": [0, 1, 2],
    "dataset": {"source": "digits"},
    "base": {
        "source": "random",
        "image_size": 24,
        "architecture": {
            "patch_size": 4,
            "num_layers": 6,
            "num_heads": 4,
            "hidden_dim": 64,
            "mlp_dim": 128,
        },
    },
    "splits": {"calibration": {"from": "valid", "fraction": 0.5}},
    "split_variants": {"swapped": {"mode": "fraction", "swap_train_test": True}},
    "experiments": {
        "frozen": {"method": "fine_tune", "schedule": [{"train": "head", "epochs": 5}]},
        "partial": {
            "method": "fine_tune",
            "splits": "swapped",
            "schedule": [
                {"train": "head", "epochs": 4},
                {"train": {"blocks": 3}, "epochs": 1, "layer_decay": 0.75},
            ],
            "grid": {"parameters": {"lr": [0.001, 0.002], "schedule[1].lr": [0.01, 0.02]}},
        },
        "early": {
            "method": "early_exit",
            "from": "frozen",
            "schedule": [{"train": "exits", "epochs": 3}],
            "targets": {"budget": [0.5], "risk": [{"epsilon": 0.03, "delta": 0.2}]},
        },
        "halting": {
            "method": "avit",
            "from": "frozen",
            "schedule": [{"train": "head", "epochs": 1}, {"train": "all", "epochs": 7}],
            "halting": {"target_gflops": 0.01},
        },
        "merged": {"method": "token_merging", "from": "frozen", "r": [2]},
        "pruned": {"method": "token_pruning", "from": "frozen", "keep_tokens": [0.7]},
    },
}


def render(caption: Path, experiment: str, splits: str = "splits") -> str:
    """The caption's text; docutils' warnings fail."""
    jinja2 = pytest.importorskip("jinja2")
    core = pytest.importorskip("docutils.core")
    study = load_study(STUDY)
    settings = {name: asdict(entry) for name, entry in study.experiments.items()}
    if caption.stem in ("samples", "class_counts"):
        shown = study.split_sets[splits]
    else:
        shown = settings if caption.stem == "schedules" else settings[experiment]
    snakemake = SimpleNamespace(
        config=STUDY,
        wildcards=SimpleNamespace(experiment=experiment, splits=splits),
        params=SimpleNamespace(
            settings=shown,
            experiments=list(settings),
            targets=(settings[experiment]["exits"] or {}).get("targets", {}),
            rivals={"first_six": 6},
        ),
    )
    # The options are those of Snakemake's report.
    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    text = environment.from_string(caption.read_text()).render(snakemake=snakemake)
    warnings = io.StringIO()
    core.publish_parts(text, writer="html", settings_overrides={"warning_stream": warnings})
    assert not warnings.getvalue(), text
    return " ".join(text.split())


# An experiment without a grid has no grid figure, one without exits or halting none of those.
PAIRS = [
    (caption, experiment)
    for caption in CAPTIONS
    for experiment in STUDY["experiments"]
    if caption.stem != "grid" or "grid" in STUDY["experiments"][experiment]
    if not caption.stem.startswith("exit_") or experiment == "early"
    if not caption.stem.startswith("avit_") or experiment == "halting"
]


@pytest.mark.parametrize(
    ("caption", "experiment"), PAIRS, ids=lambda part: getattr(part, "stem", part)
)
def test_captions_render_cleanly(caption, experiment):
    assert render(caption, experiment)


def test_captions_state_parameters():
    captions = {path.stem: path for path in CAPTIONS}
    curves = render(captions["learning_curves"], "partial")
    assert "3 seed(s) (0, 1, 2)" in curves
    assert "last 3 block(s) and head: 1 epoch(s), learning rate 0.01" in curves
    assert "layer decay 0.75" in curves
    assert "4 settings of lr, schedule[1].lr" in render(captions["grid"], "partial")
    counts = render(captions["class_counts"], "partial", "splits-swapped")
    assert "0.8 of the training images train (stratified, seed 0)" in counts
    assert "swapped" in counts
    compared = render(captions["schedules"], "frozen")
    assert "head for 4 epoch(s) at learning rate 0.001, then last 3 block(s) for 1" in compared
    assert "starts from frozen" in compared
    saved = render(captions["exit_tradeoff"], "early")
    assert "at most 0.5 of the full model's GFLOPs; at most 0.01 of accuracy lost" in saved
    assert "at most 0.03 of accuracy lost with probability 0.8" in saved
    assert "*first_six*, the first 6 block(s) alone" in saved
    assert "weighs what its share of the depth" in render(captions["learning_curves"], "early")


def test_captions_of_adaptive_tokens_state_parameters():
    captions = {path.stem: path for path in CAPTIONS}
    for name in ("avit_halting", "avit_images", "avit_tokens", "avit_losses"):
        caption = render(captions[name], "halting")
        assert "halting" in caption
        assert "Method: avit" in caption
        assert "Splits: splits" in caption
    assert "Test images of seed 0" in render(captions["avit_images"], "halting")
    assert "3 seed(s) (0, 1, 2)" in render(captions["avit_losses"], "halting")
    curves = render(captions["learning_curves"], "halting")
    assert "all: 7 epoch(s)" in curves
    for name in ("pareto", "token_table"):
        assert "study made_up" in render(captions[name], "halting")


def test_captions_of_what_trains_nothing_say_so():
    captions = {path.stem: path for path in CAPTIONS}
    curves = render(captions["learning_curves"], "merged")
    assert "Nothing trains here: the curves are those of frozen." in curves
    assert "Schedule" not in curves
    compared = render(captions["schedules"], "merged")
    assert "starts from frozen; nothing trains." in compared
