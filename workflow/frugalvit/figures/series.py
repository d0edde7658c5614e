"""What a comparison draws in one look: an experiment's points, with its words and its place."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from frugalvit.figures.comparison import MASKED, PLAIN, RIVAL, ROLES
from frugalvit.figures.looks import OTHER, Looks, MethodLook
from frugalvit.figures.style import GREEN
from frugalvit.operating_point import point_of

OF_RIVALS = ("^", GREEN)  # marker and colour of other networks than the full model
ONLY_MASKED = ("X", "#B0765A")


@dataclass(frozen=True)
class Series:
    """One experiment's points in one look, cheapest first; `rows` are of `over_seeds`."""

    experiment: str
    method: MethodLook
    role: str  # of `comparison.ROLES`
    rows: pd.DataFrame
    network: str  # what tells its network from the full model; empty where none
    place: int  # among the experiments of its method and role

    @property
    def look(self) -> tuple[str, str]:
        """Marker and colour."""
        special = {RIVAL: OF_RIVALS, MASKED: ONLY_MASKED}
        return special.get(self.role, (self.method.marker, self.method.color))

    @property
    def main(self) -> pd.Series:
        """The point in use: the chosen one, else the middle one."""
        chosen = self.rows[self.rows["chosen"]]
        return chosen.iloc[0] if len(chosen) else self.rows.iloc[len(self.rows) // 2]

    @property
    def label(self) -> str:
        """Beside the marks and in the table: the experiment's own name."""
        return f"{self.experiment}, masked" if self.role == MASKED else self.experiment

    @property
    def words(self) -> str:
        """What it is, in the table: 'early exits, budget 0.5', 'first 4 blocks alone'."""
        if self.role == PLAIN:
            return self.method.words
        if self.role == RIVAL:
            return self.network
        masked = self.role == MASKED
        kind = f"{self.method.label}, masked only" if masked else self.method.words
        return f"{kind}, {self.method.words_of(point_of(self.main))}"


def series_of(table: pd.DataFrame, experiments: Mapping[str, str], looks: Looks) -> list[Series]:
    """The series of a table of `over_seeds`: plain ones first, then method by method."""
    methods, listed = [*looks], list(experiments)

    def order(key: tuple[str, str, str]) -> tuple[int, ...]:
        experiment, method, role = key
        adapts = role not in (PLAIN, RIVAL)
        place = methods.index(method) if adapts and method in looks else len(methods)
        return adapts, place if adapts else 0, ROLES.index(role), listed.index(experiment)

    groups = table.sort_values("gflops", kind="stable").groupby(["experiment", "method", "role"])
    keys = sorted(groups.groups, key=order)
    found = []
    for experiment, method, role in keys:
        same = [other for other, *kind in keys if kind == [method, role]]
        rows = groups.get_group((experiment, method, role))
        kind = (looks.get(method, OTHER), role, rows, experiments[experiment])
        found.append(Series(experiment, *kind, same.index(experiment)))
    return found
