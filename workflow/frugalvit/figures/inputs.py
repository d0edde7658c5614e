"""The tables that figures may read, by name: where each lies under `results/{study}`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A table, or one of each run.

    Attributes:
        path: under the study's results; `{run}` and `{splits}` are those of what is drawn.
        ancient: whether a newer file alone redraws nothing, for rows of others fill it too.
        may_be_empty: whether no rows are a result, and no mistake.
    """

    path: str
    ancient: bool = False
    may_be_empty: bool = False

    @property
    def of_runs(self) -> bool:
        """Whether each run has one."""
        return "{run}" in self.path


TABLES = {
    "histories": Table("runs/{run}/history.csv"),
    "predictions": Table("runs/{run}/predictions.csv"),
    "thumbnails": Table("runs/{run}/thumbnails.csv", may_be_empty=True),
    "costs": Table("runs/{run}/cost.csv"),
    "points": Table("runs/{run}/operating_points.csv"),
    "assignments": Table("{splits}/assignments.csv"),
    "samples": Table("{splits}/samples.csv"),
    "checks": Table("{splits}/checks.csv"),
    "probes": Table("{splits}/{probes}.csv", may_be_empty=True),
    "run_probes": Table("runs/{run}/probes.csv"),
    "grid": Table("grid/{experiment}.csv"),
    "summary": Table("summary.csv"),
    "answer": Table("answer.csv"),
    "comparisons": Table("comparisons.csv", may_be_empty=True),
    "abstain": Table("abstain.csv"),
    "devices": Table("summary.csv", ancient=True),  # of which only the device is read
    "metrics": Table("metrics.csv"),
    "own_metrics": Table("metrics.csv", ancient=True),  # of which only the runs' own are read
    "all_points": Table("operating_points.csv", may_be_empty=True),
}


def of_method(file: str) -> Table:
    """A method's own table, which each of its runs has."""
    return Table(f"runs/{{run}}/{file}", may_be_empty=True)
