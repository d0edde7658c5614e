"""The figures that belong to no method: a line each, in groups of what they are drawn for.

A method's own stand in its room, `methods/{name}/figures/__init__.py`.
"""

from typing import NamedTuple

from frugalvit.figures.figure import Figure


class Group(NamedTuple):
    """Figures that are drawn for the same: `figures.shown` makes the jobs.

    Attributes:
        category: in the report.
        figures: of the group.
    """

    category: str
    figures: tuple[Figure, ...]


HOME = "frugalvit.figures."
# Of each set of splits.
DATA = Group(
    "Data",
    (
        Figure("samples", HOME + "samples", ("samples", "assignments")),
        Figure("class_counts", HOME + "class_counts", ("assignments",)),
        Figure(
            "checks_table",
            HOME + "checks_table",
            ("checks",),
            "what the checks found",
            page="{splits}/checks.html",
        ),
    ),
)
# Of each experiment.
EXPERIMENT = Group(
    "Experiments",
    (
        Figure(
            "learning_curves",
            HOME + "learning_curves",
            ("histories", "assignments", "devices"),
        ),
        Figure("confusion", HOME + "confusion", ("predictions", "assignments", "devices")),
        Figure(
            "mistakes",
            HOME + "mistakes",
            ("thumbnails", "predictions", "assignments", "devices"),
        ),
        Figure("reliability", HOME + "reliability", ("predictions", "devices")),
    ),
)
# Of each experiment with a grid.
SEARCH = Group(
    "Grid search",
    (Figure("grid", HOME + "grid", ("grid", "assignments", "devices"), "grid search"),),
)
# Of the study.
COMPARISON = Group(
    "Comparison",
    (
        Figure(
            "answer",
            HOME + "answer_page",
            ("answer", "summary", "costs"),
            "which model to take",
            page="answer.html",
        ),
        Figure(
            "comparisons_page",
            HOME + "comparisons_page",
            ("comparisons",),
            "who is better, image by image",
            page="comparisons.html",
        ),
        Figure("schedules", HOME + "schedules", ("summary",), "experiments compared"),
        Figure(
            "results_table",
            HOME + "results_table",
            ("summary", "all_points", "predictions", "costs"),
            "results as a table",
            page="summary.html",
            spared=("predictions",),
        ),
    ),
)
# Of a study with adaptive experiments, beside those of the comparison.
SAVINGS = Group(
    "Comparison",
    (
        Figure(
            "pareto",
            HOME + "pareto",
            ("summary", "all_points", "costs"),
            "accuracy against cost, all methods",
        ),
    ),
)
# Of a study that asks what embeddings know.
PROBES = Group(
    "Comparison",
    (
        Figure(
            "probes_table",
            HOME + "probes_table",
            ("run_probes", "summary"),
            "classifiers on frozen embeddings",
            page="probes.html",
        ),
    ),
)
# Of a study whose models may say that they are unsure.
UNSURE = Group(
    "Comparison",
    (
        Figure(
            "abstain_page",
            HOME + "abstain_page",
            ("abstain",),
            "where models say unsure",
            page="abstain.html",
        ),
    ),
)
GROUPS = (DATA, EXPERIMENT, SEARCH, COMPARISON, SAVINGS, PROBES, UNSURE)
