"""The report's captions are clean reStructuredText that states each figure's parameters."""

import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from frugalvit.config.study import load_study
from frugalvit.figures import shown

WORKFLOW = Path(__file__).resolve().parents[1] / "workflow"
STUDY = {
    "study": "made_up",
    "seeds": [0, 1, 2],
    "dataset": {"source": "digits"},
    "base": {
        "source": "random",
        "image_size": 24,
        "architecture": {
            "patch_size": 4,
            "num_layers": 12,
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
        "first_six": {
            "method": "fine_tune",
            "keep_blocks": 6,
            "schedule": [{"train": "head", "epochs": 1}],
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
        "boxes": {"method": "localize", "schedule": [{"train": "head", "epochs": 1}]},
        "merged": {"method": "token_merging", "from": "frozen", "r": [2]},
        "pruned": {"method": "token_pruning", "from": "frozen", "keep_tokens": [0.7]},
        "network": {
            "method": "scratch",
            "network": {"kind": "resnet18"},
            "schedule": [{"train": "all", "epochs": 2}],
        },
    },
    "evaluation": {"abstain": {"risk": 0.05}, "probes": ["svc"]},
}


STUDY_JOBS = shown.jobs(load_study(STUDY))
CASES = {
    (figure.name, value): (job, figure)
    for job in STUDY_JOBS
    for figure in job.figures
    for value in (job.values or [""])
}


def render(name: str, value: str = "") -> str:
    """The text of a figure's caption, with what its rule gives it; docutils' warnings fail."""
    job, figure = CASES[name, value]
    params = SimpleNamespace(
        settings=job.settings[value] if job.each and job.settings else job.settings,
        options=job.options[value] if job.each and job.options else job.options,
    )
    text = (WORKFLOW / "frugalvit" / shown.caption(figure)).read_text()
    return rendered(text, params, {job.each: value} if job.each else {})


def rendered(text: str, params: SimpleNamespace, wildcards: dict[str, str]) -> str:
    """What docutils makes of a caption."""
    jinja2 = pytest.importorskip("jinja2")
    core = pytest.importorskip("docutils.core")
    snakemake = SimpleNamespace(config=STUDY, wildcards=SimpleNamespace(**wildcards), params=params)
    # The options are those of Snakemake's report.
    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    text = environment.from_string(text).render(snakemake=snakemake)
    warnings = io.StringIO()
    core.publish_parts(text, writer="html", settings_overrides={"warning_stream": warnings})
    assert not warnings.getvalue(), text
    return " ".join(text.split())


@pytest.mark.parametrize(("name", "value"), CASES, ids=lambda part: part or "study")
def test_captions_render_cleanly(name, value):
    assert render(name, value)


def test_the_first_page_renders_cleanly():
    text = (WORKFLOW / "report" / "workflow.rst").read_text()
    assert "study made_up" in rendered(text, SimpleNamespace(), {}).lower()


def test_every_caption_is_of_a_figure():
    found = {path.relative_to(WORKFLOW / "frugalvit") for path in WORKFLOW.rglob("captions/*.rst")}
    of_figures = {Path(shown.caption(figure)) for _, figure in CASES.values()}
    assert {path for path in found - of_figures if path.name != "training.rst"} == set()


def test_figures_are_of_the_experiments_that_have_them():
    of = {name: {value for other, value in CASES if other == name} for name, _ in CASES}
    assert of["grid"] == {"partial"}
    assert of["exit_depth"] == {"early"}
    assert of["avit_images"] == {"halting"}
    assert of["mistakes"] == set(STUDY["experiments"])
    assert of["samples"] == {"splits", "splits-swapped"}
    table, _ = CASES["token_table", ""]
    assert table.options["listed"]["token_table"] == ["frozen", "halting", "merged", "pruned"]
    pareto, _ = CASES["pareto", ""]
    assert "partial" not in pareto.options["compared"], "tested on other images"
    trained = set(STUDY["experiments"]) - {"merged", "pruned"}
    assert of["learning_curves"] == trained, "of what trains nothing there is no curve"
    plain = STUDY | {"experiments": {"frozen": STUDY["experiments"]["frozen"]}}
    found = shown.jobs(load_study(plain))
    assert {job.name for job in found} == {"plot_splits", "plot_fine_tune", "plot_comparison"}
    names = {figure.name for job in found for figure in job.figures}
    assert not names & {"pareto", "token_table", "grid"}


def test_captions_state_parameters():
    curves = render("learning_curves", "partial")
    assert "3 seed(s) (0, 1, 2)" in curves
    assert "last 3 block(s) and head: 1 epoch(s), learning rate 0.01" in curves
    assert "layer decay 0.75" in curves
    assert "4 settings of lr, schedule[1].lr" in render("grid", "partial")
    counts = render("class_counts", "splits-swapped")
    assert "0.8 of the training images train (stratified, seed 0)" in counts
    assert "swapped" in counts
    compared = render("schedules")
    assert "head for 4 epoch(s) at learning rate 0.001, then last 3 block(s) for 1" in compared
    assert "starts from frozen" in compared
    saved = render("exit_tradeoff", "early")
    assert "at most 0.5 of the full model's GFLOPs; at most 0.01 of accuracy lost" in saved
    assert "at most 0.03 of accuracy lost with probability 0.8" in saved
    assert "*first_six*, the first 6 block(s) alone" in saved
    curves = render("learning_curves", "early")
    assert "weighs ``(k/N)**depth_power``" in curves
    assert "It starts from the runs of frozen." in curves


def test_captions_of_adaptive_tokens_state_parameters():
    for name in ("avit_halting", "avit_images", "avit_tokens", "avit_losses"):
        caption = render(name, "halting")
        assert "halting" in caption
        assert "Method: avit" in caption
        assert "Splits: splits" in caption
    assert "Test images of seed 0" in render("avit_images", "halting")
    assert "3 seed(s) (0, 1, 2)" in render("avit_losses", "halting")
    curves = render("learning_curves", "halting")
    assert "all: 7 epoch(s)" in curves
    assert "what is learned from the baseline" in curves
    for name in ("pareto", "token_table"):
        assert "study made_up" in render(name)


def test_captions_of_what_trains_nothing_say_so():
    compared = render("schedules")
    assert "starts from frozen; nothing trains." in compared
