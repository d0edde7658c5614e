"""The figures that belong to no method: a line each, in groups that one job draws together.

A method's own stand in its room, `methods/{name}/figures/__init__.py`.
"""

from typing import NamedTuple

from frugalvit.figures.figure import Figure


class Group(NamedTuple):
    """Figures that one job draws.

    Attributes:
        job: name of its rule.
        category: in the report.
        scope: what it is drawn for, of `figures.shown`: each `splits`, `experiment` or `grid`, or
            once for the `study` or for all that is `compared`.
        figures: that it draws.
        nested: whether the report has a folder for each experiment.
        described: whether the captions tell every experiment's settings.
    """

    job: str
    category: str
    scope: str
    figures: tuple[Figure, ...]
    nested: bool = False
    described: bool = False


HOME = "frugalvit.figures."
GROUPS = (
    Group(
        "plot_splits",
        "Data",
        "splits",
        (
            Figure("samples", HOME + "samples", ("samples", "assignments")),
            Figure("class_counts", HOME + "class_counts", ("assignments",)),
        ),
    ),
    Group(
        "plot_experiment",
        "Experiments",
        "experiment",
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
        nested=True,
    ),
    Group(
        "plot_schedules",
        "Comparison",
        "study",
        (Figure("schedules", HOME + "schedules", ("summary",), "experiments compared"),),
        described=True,
    ),
    Group(
        "plot_grid",
        "Grid search",
        "grid",
        (Figure("grid", HOME + "grid", ("grid", "assignments", "devices"), "grid search"),),
    ),
    Group(
        "plot_pareto",
        "Comparison",
        "compared",
        (
            Figure(
                "pareto",
                HOME + "pareto",
                ("summary", "all_points", "costs"),
                "accuracy against cost, all methods",
            ),
        ),
    ),
    Group(
        "tabulate_results",
        "Comparison",
        "study",
        (
            Figure(
                "results_table",
                HOME + "results_table",
                ("summary", "all_points", "predictions"),
                "results as a table",
                page="summary.html",
            ),
        ),
    ),
    Group(
        "tabulate_checks",
        "Data",
        "splits",
        (
            Figure(
                "checks_table",
                HOME + "checks_table",
                ("checks",),
                "what the checks found",
                page="{splits}/checks.html",
            ),
        ),
    ),
)
