"""Editing a module reruns what uses it: planned jobs of the embedded study, a module a room."""

import pytest

from tests.workflows import copy_workflow, planned, run

pytestmark = pytest.mark.workflow
HERE = ("--cores", "2", "--resources", "gpu=0")
# What follows when one method's runs are evaluated anew: of other experiments nothing trains, and
# nothing is evaluated.
TABLES = {"summarize", "answer", "plot_comparison"}
MEASURED = {"measure_cost", "copy_cost"}
SEEDS = (0, 1, 2)


def evaluated(method: str, seeds=SEEDS) -> set[str]:
    """Rules that evaluate a method's runs: the embedded study has one a seed."""
    return {f"evaluate_{method}_s{seed}" for seed in seeds}


SUMMARY = TABLES | {"plot_early_exit"}  # which shows its rivals, from the summary
OF_AVIT = SUMMARY | MEASURED | evaluated("avit") | {"plot_avit"}
OF_EXITS = SUMMARY | MEASURED | evaluated("early_exit")
OF_EACH = {
    "plot_fine_tune", "plot_early_exit", "plot_avit", "plot_localize", "plot_token_merging",
    "plot_token_pruning",
}  # fmt: skip
FROM_FEATURES = {"extract_features", "train_run", "probe_blocks"} | evaluated("fine_tune")
# Module -> rules that plan a job, and how many jobs some of them have; of the others any number.
EDITED = {
    "jobs/lock.py": (set(), {}),
    "jobs/progress.py": (set(), {}),
    "config/study.py": (set(), {}),
    "methods/method.py": (set(), {}),
    "methods/registry.py": (set(), {}),
    "data/sources/all_sources.py": (set(), {}),
    "data/sources/flowers102.py": (set(), {}),
    "methods/avit/objective.py": (OF_AVIT | {"train_run"}, {"train_run": 3}),
    "methods/avit/tables.py": (OF_AVIT, {}),
    "methods/early_exit/criteria.py": (OF_EXITS, {}),
    "methods/token_merging/merging.py": (
        SUMMARY | MEASURED | {"evaluate_token_merging_s0", "plot_token_merging"}
        | {"check_experiments"}, {"evaluate_token_merging_s0": 1},
    ),
    "methods/avit/figures/avit_losses.py": ({"plot_avit"}, {"plot_avit": 1}),
    "figures/confusion.py": (OF_EACH, {"plot_fine_tune": 7, "plot_avit": 1}),
    "figures/pareto.py": ({"plot_comparison"}, {"plot_comparison": 1}),
    "evaluation/summary.py": (SUMMARY, {"summarize": 1}),
}  # fmt: skip
# What changes numbers reruns whatever computes with it.
EVERYWHERE = {
    "devices/fabric.py": FROM_FEATURES - {"probe_blocks"} | evaluated("avit") | {"measure_cost"},
    "data/sources/digits.py": {"download_dataset", "prepare_dataset", "train_run"},
    "data/views.py": FROM_FEATURES,
    "models/backbone.py": FROM_FEATURES | {"export_base"},
    "training/loop.py": {"train_run"} | evaluated("fine_tune") | evaluated("avit"),
    "evaluation/metrics.py": evaluated("fine_tune")
    | evaluated("avit")
    | {"evaluate_token_pruning_s0"},
    "methods/fine_tune/objective.py": {"train_run"} | evaluated("fine_tune"),
    "files.py": {"download_dataset", "summarize", "train_run"},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The embedded study as if it had run: every output is there, empty, and recorded."""
    folder = copy_workflow(tmp_path_factory.mktemp("made"))
    listed = run(folder, *HERE, "--summary").splitlines()
    heading = next(n for n, line in enumerate(listed) if line.startswith("output_file\t"))
    for line in listed[heading + 1 :]:
        path = folder / line.split("\t")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    run(folder, *HERE, "--touch", "--forceall")
    assert planned(folder, *HERE) == {}
    return folder


def plan_after(folder, module):
    """Jobs that an added line of code plans."""
    path = folder / "workflow" / "frugalvit" / module
    text = path.read_text()
    path.write_text(text + "\nADDED = 1\n")
    try:
        return planned(folder, *HERE)
    finally:
        path.write_text(text)


@pytest.mark.parametrize("module", EDITED)
def test_an_edited_module_reruns_what_uses_it_and_nothing_else(made, module):
    rules, counts = EDITED[module]
    plan = plan_after(made, module)
    assert set(plan) == rules
    assert {rule: plan[rule] for rule in counts} == counts


@pytest.mark.parametrize("module", EVERYWHERE)
def test_what_changes_numbers_reruns_whatever_computes_with_it(made, module):
    assert EVERYWHERE[module] <= set(plan_after(made, module))


def test_a_comment_or_a_docstring_reruns_nothing(made):
    path = made / "workflow" / "frugalvit" / "training" / "loop.py"
    text = path.read_text()
    path.write_text(
        text.replace('"""The one training loop', '"""Still the one loop') + "\n# Why.\n"
    )
    try:
        assert planned(made, *HERE) == {}
    finally:
        path.write_text(text)
