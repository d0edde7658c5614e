"""docs/architecture.md, "Add a method", followed literally: one folder, one line of the registry."""

import shutil

import pandas as pd
import pytest

from tests.workflows import (
    ROOT,
    TINY,
    differing,
    edit,
    lines_added,
    planned,
    refused,
    results_of,
    run,
)

LIBRARY = "workflow/frugalvit"
REGISTRY = f"{LIBRARY}/methods/registry.py"
ROOM = f"{LIBRARY}/methods/scaled"


def add_method(folder):
    """The toy's room, and its line."""
    shutil.copytree(ROOT / "tests" / "toys" / "scaled", folder / ROOM)
    registry = folder / REGISTRY
    text = registry.read_text()
    registry.write_text(
        text.replace('    "token_pruning",\n', '    "token_pruning",\n    "scaled",\n')
    )


@pytest.mark.workflow
def test_a_method_is_a_folder_and_a_line(copied):
    folder = copied
    add_method(folder)
    touched = differing(folder)
    assert {name for name in touched if not name.startswith(ROOM)} == {REGISTRY}
    assert lines_added(folder, REGISTRY) == ['"scaled",']

    def toy_alone(study):
        # `frozen` is what it is shown beside; a phase of its own part, one of heads, one of blocks.
        phases = [{"train": "scale", "epochs": 1}, {"train": "heads", "epochs": 1}]
        study["experiments"] = {
            "frozen": study["experiments"]["frozen"],
            "toy": {"method": "scaled", "schedule": [*phases, {"train": "all", "epochs": 1}]},
        }

    edit(folder, toy_alone)
    jobs = planned(folder, *TINY)
    assert jobs["train_run"] == 2, "of the toy alone"
    assert jobs["evaluate_scaled_s0"] == jobs["evaluate_scaled_s1"] == 1
    assert jobs["plot_scaled"] == 1
    run(folder, *TINY, "--resources", "gpu=0")
    results = results_of(folder)
    summary = pd.read_csv(results / "summary.csv")
    assert set(summary.loc[summary["experiment"] == "toy", "split"]) == {"valid", "test"}
    scales = [pd.read_csv(results / f"runs/toy-s{seed}/scales.csv")["scale"][0] for seed in (0, 1)]
    assert all(0.5 < scale < 4 and scale != 2.0 for scale in scales), "it starts at 2, and trains"
    assert (results / "figures" / "scales-toy.svg").stat().st_size > 1000
    run(folder, *TINY, "--resources", "gpu=0", "--report", "report.html")
    assert "number that multiplies the logits" in (folder / "report.html").read_text()
    edit(folder, lambda study: study["experiments"]["toy"].update(first_scale=0))
    words = refused(folder, *TINY)
    assert "experiments.toy.first_scale: 0 is too small; more than 0" in words
