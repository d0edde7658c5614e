"""Which figures a study has, which job draws each, and what each asks of the configuration.

A job of drawing spends as long on its imports as on two figures, so few jobs draw many: one an
experiment, one a set of splits, and one of all that compares experiments.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from frugalvit.config.experiments import Experiment
from frugalvit.config.study import Study
from frugalvit.figures.all_figures import (
    COMPARISON,
    DATA,
    EXPERIMENT,
    PROBES,
    SAVINGS,
    SEARCH,
    UNSURE,
    Group,
)
from frugalvit.figures.figure import Figure
from frugalvit.figures.inputs import TABLES, Table, of_method
from frugalvit.methods import registry


@dataclass(frozen=True)
class Job:
    """A rule that draws: once, or for each value of a wildcard.

    Attributes:
        name: of the rule.
        categories: figure that it draws -> its category in the report.
        tables: name -> table that it reads.
        each: the wildcard, `experiment` or `splits`; empty where it draws once.
        values: of the wildcard.
        nested: whether the report has a folder for each value.
        runs: whose tables are read, where it draws once.
        settings: what captions tell of the configuration; by value of the wildcard, where it has one.
        options: what figures and captions ask of it, by value too.
    """

    name: str
    categories: Mapping[Figure, str]
    tables: dict[str, Table]
    each: str = ""
    values: Sequence[str] = ()
    nested: bool = False
    runs: Sequence[str] = ()
    settings: Any = None
    options: Any = None

    @property
    def figures(self) -> list[Figure]:
        """That it draws together."""
        return list(self.categories)

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
        """The labels of a figure in the report."""
        of = {self.each: f"{{{self.each}}}"} if self.each and not self.nested else {}
        return {"figure": figure.words, **of}


def jobs(study: Study) -> list[Job]:
    """Every job of drawing that has anything to draw."""
    found = [_of_splits(study), *(_of_method(study, name) for name in _methods(study))]
    found += [_of_search(study), _of_study(study)]
    return [job for job in found if job.categories and (job.values or not job.each)]


def caption(figure: Figure) -> str:
    """Path of a figure's caption below the library's folder, in its room."""
    parts = figure.module.split(".")[1:]
    room = parts[:2] if parts[0] == "methods" else parts[:1]
    return PurePosixPath(*room, "captions", f"{figure.name}.rst").as_posix()


def compared(study: Study) -> dict[str, str]:
    """Experiments that stand in one comparison of what saves computation -> their networks, in words.

    It holds one set of splits, the first adaptive experiment's, or where there are several bases or
    sizes the first one's, for accuracies on other test images do not compare; it is empty where nothing
    is adaptive and there is one network. `network_words` says what stands for each.
    """
    shown = _shown(study)
    found = [one.splits for one in shown if registry.method(one.method).adaptive]
    if len({one.base for one in shown}) > 1:
        found = [*found, *(one.splits for one in shown)]
    return {one.name: network_words(study, one) for one in shown if one.splits in found[:1]}


def network_words(study: Study, experiment: Experiment) -> str:
    """What tells an experiment's network from the study's full model: 'tiny, 112 px'.

    The full model is the first base, whole, at its own size; of it there is nothing to tell.
    """
    if not study.starts_from_base(experiment.final_runs[0]):
        return registry.method(experiment.method).look.words
    base, kept = study.bases[experiment.base], experiment.keep_blocks
    first = next(iter(study.config["bases"]))
    words = [base.name] if base.name != first else []
    if base.image_size != study.config["bases"][base.name]["image_size"]:
        words.append(f"{base.image_size} px")
    if kept:
        words.append(f"first {kept} block{'' if kept == 1 else 's'} alone")
    return ", ".join(words)


def looks(study: Study) -> dict[str, dict[str, Any]]:
    """What comparing figures need of each method of a study, as `figures.looks` reads it."""
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


def _of_splits(study: Study) -> Job:
    """Figures of each set of images."""
    folders = sorted({one.splits for one in _shown(study)})
    return Job(
        "plot_splits",
        _in(DATA),
        _tables(DATA.figures),
        each="splits",
        values=folders,
        settings=study.split_sets,
    )


def _of_method(study: Study, name: str) -> Job:
    """All figures of each of a method's experiments."""
    method = registry.method(name)
    own = {one.name: one for one in study.experiments.values() if one.method == name}
    among = {one.name: one for one in _shown(study)}
    # Where nothing trains, a history is that of another experiment.
    common = [one for one in EXPERIMENT.figures if method.trains or "histories" not in one.needs]
    figures = dict.fromkeys(common, EXPERIMENT.category)
    figures |= {one: method.title for one in method.figures if not one.page}
    return Job(
        f"plot_{name}",
        figures,
        _tables(figures, method.tables),
        each="experiment",
        values=[one for one in study.shown if one in own],
        nested=True,
        settings={one: asdict(experiment) for one, experiment in own.items()},
        options={
            one: {"note": _note(name), **method.figure_options(experiment, among)}
            for one, experiment in own.items()
        },
    )


def _of_search(study: Study) -> Job:
    """Figures of each grid search."""
    searched = [one.name for one in _shown(study) if one.points]
    settings = {name: asdict(study.experiments[name]) for name in searched}
    return Job(
        "plot_grid",
        _in(SEARCH),
        _tables(SEARCH.figures),
        each="experiment",
        values=searched,
        settings=settings,
    )


def _of_study(study: Study) -> Job:
    """Everything that compares experiments, with the pages that methods share."""
    shown, among = _shown(study), compared(study)
    pages = {
        one: COMPARISON.category
        for name in _methods(study)
        for one in registry.method(name).figures
        if one.page
    }
    probed = _in(PROBES) if study.config["evaluation"]["probes"] else {}
    unsure = _in(UNSURE) if study.abstains else {}
    figures = _in(COMPARISON) | (_in(SAVINGS) if among else {}) | probed | unsure | pages
    return Job(
        "plot_comparison",
        figures,
        _tables(figures),
        runs=[run for one in shown for run in one.final_runs],
        settings={name: asdict(one) for name, one in study.experiments.items()},
        options={
            "experiments": list(study.shown),
            "compared": among,
            "answer": study.config["answer"],
            "abstain": study.config["evaluation"]["abstain"],
            "published": study.config["figures"]["published"],
            "listed": {page.name: _listed(study, page) for page in pages},
            "throughput_batch": study.config["evaluation"]["throughput_batch"],
            "methods": looks(study),
        },
    )


def _listed(study: Study, page: Figure) -> list[str]:
    """Experiments of all methods that name a page, and the plain ones beside them."""
    shown = _shown(study)
    own = [one for one in shown if page in registry.method(one.method).figures]
    # The plain ones that they start from or are compared with.
    beside = {name for one in own for name in (one.source, one.baseline)}
    return [one.name for one in shown if one in own or one.name in beside]


def _in(group: Group) -> dict[Figure, str]:
    return dict.fromkeys(group.figures, group.category)


def _note(method: str) -> str:
    """What a reader of a method's learning curves should know."""
    path = registry.room(method) / "captions" / "training.rst"
    return path.read_text().strip() if path.is_file() else ""
