"""Which figures a study has, of what, and what each asks of the configuration."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from frugalvit.config.experiments import Experiment
from frugalvit.config.study import Study
from frugalvit.figures.all_figures import GROUPS, Group
from frugalvit.figures.figure import Figure
from frugalvit.figures.inputs import TABLES, Table, of_method
from frugalvit.methods import registry

COMPARED_CATEGORY = "Comparison"


@dataclass(frozen=True)
class Job:
    """A rule that draws: once, or for each value of a wildcard.

    Attributes:
        name: of the rule.
        category: in the report.
        figures: that it draws together.
        tables: name -> table that it reads.
        each: the wildcard, `experiment` or `splits`; empty where it draws once.
        values: of the wildcard.
        nested: whether the report has a folder for each value.
        runs: whose tables are read, where it draws once.
        settings: what captions tell of the configuration; by value of the wildcard, where it has one.
        options: what figures and captions ask of it, by value too.
    """

    name: str
    category: str
    figures: tuple[Figure, ...]
    tables: dict[str, Table]
    each: str = ""
    values: Sequence[str] = ()
    nested: bool = False
    runs: Sequence[str] = ()
    settings: Any = None
    options: Any = None

    @property
    def modules(self) -> list[str]:
        """The modules that draw."""
        return sorted({figure.module for figure in self.figures})

    @property
    def drawn(self) -> dict[str, dict[str, Any]]:
        """What the job itself is told of each figure."""
        return {
            figure.name: {"module": figure.module, "needs": list(figure.needs)}
            for figure in self.figures
        }

    def files(self, figure: Figure, formats: Iterable[str]) -> list[str]:
        """A figure's files under the study's results, one a format, with the wildcard in them."""
        if figure.page:
            return [figure.page]
        of = f"-{{{self.each}}}" if self.each else ""
        return [f"figures/{figure.name}{of}.{format}" for format in formats]

    def labels(self, figure: Figure) -> dict[str, str]:
        """Of a figure in the report."""
        of = {self.each: f"{{{self.each}}}"} if self.each and not self.nested else {}
        return {"figure": figure.words, **of}


def jobs(study: Study) -> list[Job]:
    """Every job of drawing that has anything to draw."""
    found = [_of_group(study, group) for group in GROUPS]
    found += [_of_method(study, name) for name in _methods(study)]
    found += _of_several(study)
    return [job for job in found if job.figures and (job.values or not job.each)]


def caption(figure: Figure) -> str:
    """Path of a figure's caption below the library's folder, in its room."""
    parts = figure.module.split(".")[1:]
    room = parts[:2] if parts[0] == "methods" else parts[:1]
    return PurePosixPath(*room, "captions", f"{figure.name}.rst").as_posix()


def compared(study: Study) -> dict[str, int | None]:
    """Experiments that stand in one comparison of what saves computation -> blocks that they keep.

    It holds one set of splits, the first adaptive experiment's, for accuracies on other test images
    do not compare; it is empty where nothing is adaptive.
    """
    shown = _shown(study)
    adaptive = [one.splits for one in shown if registry.method(one.method).adaptive]
    return {one.name: one.keep_blocks for one in shown if one.splits in adaptive[:1]}


def looks(study: Study) -> dict[str, dict[str, Any]]:
    """Of each method of a study what comparing figures need, as `figures.looks` reads it."""
    return {name: look_of(name) for name in _methods(study)}


def look_of(name: str) -> dict[str, Any]:
    """What comparing figures need of one method."""
    method = registry.method(name)
    return {
        **method.look._asdict(),
        "targets": list(method.targets),
        "masked": list(method.masked),
        "values": dict(method.values),
    }


def _shown(study: Study) -> list[Experiment]:
    return [study.experiments[name] for name in study.shown]


def _methods(study: Study) -> list[str]:
    """Methods of the experiments shown, in the order of their registry."""
    used = {one.method for one in _shown(study)}
    return [name for name in registry.METHODS if name in used]


def _tables(figures: Iterable[Figure], own: Mapping[str, str] | None = None) -> dict[str, Table]:
    """The tables that figures need, of all and of a method's own."""
    known = {name: of_method(file) for name, file in (own or {}).items()} | TABLES
    found = {name: known[name] for figure in figures for name in figure.needs}
    # A file that one figure follows is followed, whatever another figure reads of it.
    followed = {table.path for table in found.values() if not table.ancient}
    return {
        name: Table(table.path, table.ancient and table.path not in followed, table.may_be_empty)
        for name, table in found.items()
    }


def _of_group(study: Study, group: Group) -> Job:
    shown = _shown(study)
    every = {name: asdict(one) for name, one in study.experiments.items()}
    folders = sorted({one.splits for one in shown})
    figures = group.figures
    of: dict[str, Any] = {}
    match group.scope:
        case "splits":
            of = {"each": "splits", "values": folders, "settings": study.split_sets}
        case "experiment":
            notes = {name: {"note": _note(one["method"])} for name, one in every.items()}
            of = {"each": "experiment", "values": list(study.shown), "options": notes}
            of["settings"] = every
        case "grid":
            searched = [one.name for one in shown if one.points]
            of = {"each": "experiment", "values": searched, "settings": every}
        case "study":
            of["runs"] = [run for one in shown for run in one.final_runs]
            of["options"] = {"experiments": list(study.shown)}
            of["settings"] = every if group.described else None
        case "compared":
            among = compared(study)
            figures = figures if among else ()
            batch = study.config["evaluation"]["throughput_batch"]
            of = _compared(study, experiments=among, throughput_batch=batch)
    return Job(group.job, group.category, figures, _tables(figures), nested=group.nested, **of)


def _of_method(study: Study, name: str) -> Job:
    """Figures of each of a method's experiments."""
    method = registry.method(name)
    own = {one.name: one for one in study.experiments.values() if one.method == name}
    figures = tuple(figure for figure in method.figures if not figure.page)
    among = {one.name: one for one in _shown(study)}
    return Job(
        f"plot_{name}",
        method.title,
        figures,
        _tables(figures, method.tables),
        each="experiment",
        values=[one for one in study.shown if one in own],
        nested=True,
        settings={one: asdict(experiment) for one, experiment in own.items()},
        options={one: method.figure_options(experiment, among) for one, experiment in own.items()},
    )


def _of_several(study: Study) -> list[Job]:
    """Pages that methods share: a job each, of the experiments of all methods that name it."""
    owners: dict[Figure, list[str]] = {}
    for name in _methods(study):
        for figure in registry.method(name).figures:
            if figure.page:
                owners.setdefault(figure, []).append(name)
    shown = _shown(study)
    found = []
    for figure, methods in owners.items():
        own = [one for one in shown if one.method in methods]
        # The plain ones that they start from or are compared with stand beside them.
        beside = {name for one in own for name in (one.source, one.baseline)}
        listed = [one.name for one in shown if one in own or one.name in beside]
        job = f"tabulate_{PurePosixPath(figure.page).stem}"
        of = _compared(study, experiments=listed)
        found.append(Job(job, COMPARED_CATEGORY, (figure,), _tables((figure,)), **of))
    return found


def _compared(study: Study, **options: Any) -> dict[str, Any]:
    """What a job needs that reads the costs of all that is compared."""
    runs = [run for name in compared(study) for run in study.experiments[name].final_runs]
    return {"runs": runs, "options": {**options, "methods": looks(study)}}


def _note(method: str) -> str:
    """What a reader of a method's learning curves should know."""
    path = registry.room(method) / "captions" / "training.rst"
    return path.read_text().strip() if path.is_file() else ""
