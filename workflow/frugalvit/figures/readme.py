"""README's picture and table of results, made from what is kept of a study: `make readme`."""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from frugalvit.config.experiments import Experiment
from frugalvit.config.reading import read_yaml
from frugalvit.config.study import Study, load_study
from frugalvit.errors import ConfigError, DataError, FrugalError
from frugalvit.figures import comparison, kept, overview, shown, style, tables
from frugalvit.figures.comparison import MASKED, PLAIN, RIVAL
from frugalvit.figures.looks import read_looks
from frugalvit.figures.ranking import with_fewer_seeds
from frugalvit.figures.schedules import compared_runs
from frugalvit.figures.series import Series, series_of
from frugalvit.files import atomic_path
from frugalvit.methods.method import PLAIN as PLAIN_METHOD

SUMMARY = (*comparison.SUMMARY_COLUMNS, "train_seconds")
HEADINGS = (
    "experiment",
    "what it does",
    "accuracy, %",
    "against its source, points",
    "GFLOPs, %",
    f"images/s, {overview.TIMES}",
    "training, s",
    "seeds",
)
COSTS = (("gflops", 100, 0), ("images_per_s", 1, 2))  # name, factor, digits
MINUS = "\N{MINUS SIGN}"
BLOCK = re.compile(r"(<!-- results: (\S+) -->\n).*?(<!-- end of results -->)", re.DOTALL)


@dataclass(frozen=True)
class Results:
    """A finished study, as its CSV files tell it.

    Attributes:
        study: its configuration.
        series: of each experiment, the best mean accuracy first, those of fewer seeds below; `main`
            has the means over seeds of the operating point in use, and their standard deviations.
        training: experiment -> seconds of each run.
        changes: experiment -> accuracy of each run less that of the run it starts from; none where that
            is the base.
        images: number and split of the images that the accuracies are of, in words.
        device: on which the runs were trained and timed.
    """

    study: Study
    series: Sequence[Series]
    training: Mapping[str, pd.Series]
    changes: Mapping[str, pd.Series]
    images: str
    device: str

    @property
    def batch(self) -> int:
        """Images a batch where images per second were measured."""
        return int(self.study.config["evaluation"]["throughput_batch"])


def read_results(study: Study, folder: Path) -> Results:
    """Read a study's `summary.csv`, `operating_points.csv` and each run's `cost.csv` in `folder`.

    Raises:
        ConfigError: the study has no adaptive experiment, and so nothing to compare.
        DataError: a table is missing or lacks a column.
    """
    experiments = shown.compared(study)
    if not experiments:
        raise ConfigError(
            f"experiments: study {study.name} has no adaptive one to compare; add one"
        )
    summary = tables.read_table(folder / "summary.csv", SUMMARY)
    points = tables.read_table(
        folder / "operating_points.csv", comparison.POINT_COLUMNS, may_be_empty=True
    )
    runs = [run for name in experiments for run in study.experiments[name].final_runs]
    costs = tables.read_runs(
        [folder / "runs" / run / "cost.csv" for run in runs], comparison.COST_COLUMNS
    )
    own = summary[summary["experiment"].isin(list(experiments))]
    split, own = tables.shown_split(own)
    looks = read_looks(shown.looks(study))
    batch = study.config["evaluation"]["throughput_batch"]
    rows = comparison.compared(points, summary, costs, experiments, looks, split, batch)
    series = series_of(comparison.over_seeds(rows), experiments, looks)
    series = [one for one in series if one.role != MASKED]
    used = compared_runs(own, list(experiments))
    fewer = with_fewer_seeds({name: set(study.experiments[name].seeds) for name in experiments})
    return Results(
        study=study,
        series=sorted(series, key=lambda one: (one.experiment in fewer, -one.main["accuracy"])),
        training=dict(iter(used.groupby("experiment")["train_seconds"])),
        changes=changes(used, {name: study.experiments[name].source for name in experiments}),
        images=tables.images_text(int(own["n"].iloc[0]), split),
        device=", ".join(sorted(own["device"].dropna().unique())),
    )


def changes(used: pd.DataFrame, sources: Mapping[str, str | None]) -> dict[str, pd.Series]:
    """Accuracy of each run less that of its source's run of the same seed, by experiment.

    Args:
        used: rows of `summary.csv`, one a run.
        sources: experiment -> the one that it starts from.
    """
    by_seed = {
        name: rows.set_index("seed")["accuracy"] for name, rows in used.groupby("experiment")
    }
    return {
        name: (by_seed[name] - by_seed[source]).dropna()
        for name, source in sources.items()
        if source in by_seed and name in by_seed
    }


def what_it_does(experiment: Experiment, series: Series, grid: Sequence[str] = ()) -> str:
    """An experiment in a few words: 'trains head (2 epochs); only the first 3 blocks'.

    Args:
        experiment: of the study.
        series: its rows.
        grid: keys that its search varies.
    """
    phases = []
    for phase in experiment.schedule:
        what, epochs = phase["train"], phase["epochs"]
        if isinstance(what, dict):
            what = f"last {what['blocks']} block{'' if what['blocks'] == 1 else 's'}"
        what = "everything" if what == "all" else what
        phases.append(f"{what} ({epochs} epoch{'' if epochs == 1 else 's'})")
    text = f"trains {', then '.join(phases) or 'nothing'}"
    if experiment.points:
        varied = ", ".join(grid) or "settings"
        text = f"{text}; the best of {len(experiment.points)} settings of {varied} on validation images"
    if experiment.source:
        text = f"from {experiment.source}: {text}"
    if series.role == RIVAL and series.network.endswith(" alone"):
        return f"{text}; only the {series.network.removesuffix(' alone')}"
    if series.role == RIVAL:
        return f"{text}; {series.network}"
    if series.role == PLAIN and experiment.method == PLAIN_METHOD:
        return text
    return f"{series.words}; {text}"


def results_table(results: Results) -> str:
    """Markdown: one row an experiment, and a line that says what was measured on what."""
    rows: list[Sequence[str]] = [HEADINGS, ("---",) * len(HEADINGS)]
    for series in results.series:
        experiment = results.study.experiments[series.experiment]
        seconds = results.training[series.experiment].dropna()
        raw = results.study.config["experiments"][series.experiment]
        grid = list(raw.get("grid", {}).get("parameters", ()))
        change = results.changes.get(series.experiment, pd.Series(dtype=float)) * 100
        values = (
            mean_text(series.main["accuracy"] * 100, series.main["accuracy_sd"] * 100, 1),
            mean_text(change.mean(), change.std(), 1, signed=True),
            *(
                mean_text(series.main[name] * factor, series.main[f"{name}_sd"] * factor, digits)
                for name, factor, digits in COSTS
            ),
            mean_text(seconds.mean(), seconds.std(), 0 if seconds.mean() >= 9.5 else 1),
            ", ".join(str(seed) for seed in experiment.seeds),
        )
        rows.append((series.experiment, what_it_does(experiment, series, grid), *values))
    said = (
        f"Measured on {results.images}, {results.device}. Means over seeds ± standard deviation, best",
        "first. Below stand experiments that ran with fewer seeds, to save time: do not rank them with",
        "those above. The source is what one starts *from*; the difference is of the same seeds.",
        f"GFLOPs and images per second (batch {results.batch}) are relative to the full model's.",
    )
    return "\n".join([*(f"| {' | '.join(row)} |" for row in rows), "", *said, ""])


def mean_text(mean: float, spread: float, digits: int, signed: bool = False) -> str:
    """'91.2 ± 0.4'; a dash where nothing was measured, no spread that rounds to nothing."""
    if pd.isna(mean):
        return style.DASH
    known = pd.notna(spread) and round(spread, digits) > 0
    text = f"{mean:{'+' if signed else ''}.{digits}f}".replace("-", MINUS)
    return text + (f" ± {spread:.{digits}f}" if known else "")


def with_table(text: str, study: str, table: str) -> str:
    """A page's text with the block of a study replaced.

    Raises:
        DataError: the page has no such block.
    """
    if study not in [name for _, name, _ in BLOCK.findall(text)]:
        raise DataError(
            f"README.md: no block `<!-- results: {study} -->` … `<!-- end of results -->`; add it"
        )
    return BLOCK.sub(
        lambda found: f"{found[1]}{table}{found[3]}" if found[2] == study else found[0], text
    )


def write(folder: Path, page: Path, picture: Path) -> None:
    """Draw the picture of a study's results, and put their table into a page.

    Args:
        folder: what is kept of the study, `figures.kept`.
        page: the README.
        picture: file to draw to; its suffix names the format.

    Raises:
        DataError: nothing is kept there, it was changed, or the page has no block for the table.
    """
    kept.check(folder)
    results = read_results(load_study(read_yaml(folder / kept.STUDY)), folder)
    seeds = tables.seeds_text(results.study.config["seeds"])
    drawn = overview.draw(
        results.series,
        results.training,
        study=results.study.name,
        subtitle=tables.subtitle(seeds, results.images, f"device: {results.device}"),
        throughput_batch=results.batch,
    )
    style.save(drawn, [picture], dpi=150)
    text = with_table(page.read_text(), results.study.name, results_table(results))
    with atomic_path(page) as temporary:
        temporary.write_text(text)


if __name__ == "__main__":
    try:
        write(*map(Path, sys.argv[1:4]))
    except FrugalError as error:
        sys.exit(f"error: {error}")
