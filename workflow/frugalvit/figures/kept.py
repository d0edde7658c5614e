"""Results that stay: a study's tables and cards in `results/reference/{study}`, which no run writes.

They are what figures are drawn from, in a folder small enough for the repository. Of images' splits
it holds how many images each class has in each, which is all that figures ask; a table that is too
large is left out whole, and the folder's card says which.
"""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from frugalvit.checksums import KEY
from frugalvit.config.job_params import probes_table
from frugalvit.config.reading import read_yaml
from frugalvit.config.study import REFERENCE, Study, load_study
from frugalvit.errors import DataError
from frugalvit.figures import shown, tables
from frugalvit.figures.about import About
from frugalvit.figures.figure import Figure
from frugalvit.figures.plotting import draw
from frugalvit.figures.shown import Job
from frugalvit.files import read_csv, read_json, sha256_file, write_csv, write_json, writing

HOME = Path("results") / REFERENCE
STUDY, CARD = "study.yaml", "card.json"
MOST_BYTES = 1_000_000
ASSIGNMENTS, COUNTS = "assignments.csv", "class_counts.csv"
COUNTED = ["split", "label", "class_name"]  # columns of both; `images` is the other's own


@dataclass(frozen=True)
class Drawing:
    """What one job draws for one value of its wildcard.

    Attributes:
        job: of `figures.shown`.
        value: of its wildcard; empty where it has none.
        files: name of a table -> its files under the study's results, one a run where runs have it.
    """

    job: Job
    value: str
    files: Mapping[str, list[str]]

    def path(self, name: str) -> str:
        """A file's name with the value in it."""
        return name.replace(f"{{{self.job.each}}}", self.value)

    def own(self, values: Any) -> Any:
        """The part of what the job asks of the configuration that is of this value."""
        return values[self.value] if self.job.each and values else values


def drawings(study: Study) -> Iterator[Drawing]:
    """All that is drawn of a study, with the tables that each job reads."""
    for job in shown.jobs(study):
        for value in job.values or [""]:
            of = study.experiments.get(value) if job.each == "experiment" else None
            runs = of.final_runs if of else job.runs
            splits = of.splits if of else value
            probes = probes_table(of.base) if of else ""
            files = {
                name: [
                    table.path.format(run=run, splits=splits, experiment=value, probes=probes)
                    for run in (runs if table.of_runs else [""])
                ]
                for name, table in job.tables.items()
            }
            yield Drawing(job, value, files)


def keep(config: Path, results: Path, home: Path) -> dict[str, Any]:
    """Put a finished study's tables and cards into `home/{study}`, in place of what was there.

    Args:
        config: the study's file.
        results: its results.
        home: folder of all that is kept.

    Returns:
        The card: devices, date, what was left out.

    Raises:
        DataError: the study is not finished.
    """
    study = load_study(read_yaml(config))
    kinds = _kinds(study, results)
    target = home / study.name
    with writing(target):
        home.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{study.name}.", dir=home))
        try:
            temporary.chmod(0o755)
            shutil.copyfile(config, temporary / STUDY)
            for name, files in kinds.items():
                for file in files:
                    _copy(results / file, temporary / file, counted=name == "assignments")
            left_out = _leave_out(study, kinds, temporary)
            card = _card(study, results, temporary, left_out)
            write_json(temporary / CARD, card)
            if target.exists():
                shutil.rmtree(target)
            temporary.rename(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return card


def _kinds(study: Study, results: Path) -> dict[str, list[str]]:
    """Name of a table, or `cards` -> its files, each of which is there."""
    found: dict[str, dict[str, None]] = {}
    for drawing in drawings(study):
        for name, files in drawing.files.items():
            found.setdefault(name, {}).update(dict.fromkeys(files))
    # One file may be two tables, of which figures read other columns.
    owners: dict[str, str] = {}
    for name, own in found.items():
        for file in own:
            owners.setdefault(file, name)
    kinds: dict[str, list[str]] = {}
    for file, name in owners.items():
        if not (results / file).is_file():
            raise DataError(
                f"{results / file}: no such file; run the study to its end, or name what has run in "
                "figures.experiments"
            )
        kinds.setdefault(name, []).append(file)
    kinds["cards"] = sorted(
        path.relative_to(results).as_posix() for path in results.glob(f"runs/*/{CARD}")
    )
    return kinds


def _copy(source: Path, target: Path, counted: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not counted:
        shutil.copyfile(source, target)
        return
    table = tables.read_table(source, COUNTED)
    counts = table.groupby(COUNTED, dropna=False).size().rename("images").reset_index()
    write_csv(target.with_name(COUNTS), counts)


def _leave_out(study: Study, kinds: Mapping[str, list[str]], folder: Path) -> dict[str, Any]:
    """Remove the largest tables, each of all runs, until what stays is small enough."""
    names = {
        kind: [
            str(Path(file).with_name(COUNTS)) if kind == "assignments" else file for file in files
        ]
        for kind, files in kinds.items()
    }
    sizes = {
        kind: sum((folder / file).stat().st_size for file in files) for kind, files in names.items()
    }
    # The card names every file, with its checksum.
    room = MOST_BYTES - (folder / STUDY).stat().st_size - 4096
    left_out: dict[str, Any] = {}
    for kind in sorted(sizes, key=lambda kind: (sizes[kind], kind)):
        listed = sum(len(file) + 80 for file in names[kind])
        if sizes[kind] + listed <= room:
            room -= sizes[kind] + listed
            continue
        for file in names[kind]:
            (folder / file).unlink()
        left_out[kind] = {"files": len(names[kind]), "bytes": sizes[kind]}
    undrawn = [figure.name for _, _, missing in _figures(study, folder) for figure in missing]
    return {"tables": left_out, "figures": list(dict.fromkeys(undrawn))}


def _card(study: Study, results: Path, folder: Path, left_out: dict[str, Any]) -> dict[str, Any]:
    summary = read_csv(results / "summary.csv", ("device",))
    made = datetime.fromtimestamp((results / "summary.csv").stat().st_mtime, UTC)
    environments = [read_json(path)["environment"] for path in results.glob(f"runs/*/{CARD}")]
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {
        "study": study.name,
        "date": made.date().isoformat(),
        "devices": sorted(summary["device"].dropna().unique()),
        "environments": [
            one for at, one in enumerate(environments) if one not in environments[:at]
        ],
        "runs": len(study.runs),
        "left_out": left_out["tables"],
        "figures_left_out": left_out["figures"],
        KEY: {
            path.relative_to(folder).as_posix(): sha256_file(path)
            for path in sorted(files, key=lambda path: path.relative_to(folder).as_posix())
        },
    }


def check(folder: Path) -> dict[str, Any]:
    """The card of kept results, whose files must be those that it names.

    Raises:
        DataError: nothing is kept there, or a file was changed or is missing.
    """
    if not (folder / CARD).is_file():
        names = sorted(path.parent.name for path in folder.parent.glob(f"*/{CARD}"))
        there = f"; there are {', '.join(names)}" if names else ""
        raise DataError(f"{folder}: no results are kept there{there}; `frugalvit keep` makes them")
    card = read_json(folder / CARD)
    for name, written in card[KEY].items():
        path = folder / name
        if not path.is_file() or sha256_file(path) != written:
            raise DataError(
                f"{path}: not the file that {CARD} names; check it out again, or keep the study anew"
            )
    return card


def redraw(folder: Path, out: Path) -> tuple[list[Path], list[str]]:
    """Draw all figures and pages whose tables were kept.

    Args:
        folder: of a study's kept results.
        out: folder to draw into.

    Returns:
        The files drawn, and the names of the figures whose tables were not kept.

    Raises:
        DataError: see `check`.
    """
    check(folder)
    study = load_study(read_yaml(folder / STUDY))
    page = study.config["figures"]
    formats = ["svg", *(kind for kind in page["formats"] if kind != "svg")]
    drawn: list[Path] = []
    undrawn: dict[str, None] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for drawing, figures, missing in _figures(study, folder):
            undrawn |= dict.fromkeys(figure.name for figure in missing)
            outputs = {
                figure.name: [
                    out / drawing.path(file) for file in drawing.job.files(figure, formats)
                ]
                for figure in figures
            }
            files = {
                name: [_expanded(folder / file, Path(temporary)) for file in paths]
                for name, paths in drawing.files.items()
                if _are_kept(folder, paths)
            }
            told = {
                figure.name: {
                    "module": figure.module,
                    "needs": [name for name in figure.needs if name in files],
                }
                for figure in figures
            }
            values = {drawing.job.each: drawing.value} if drawing.job.each else {}
            options = drawing.own(drawing.job.options) or {}
            about = About(study.name, page["width_mm"], options=options, **values)
            draw(told, files, outputs, about, page["dpi"])
            drawn += [path for paths in outputs.values() for path in paths]
    return drawn, list(undrawn)


def _figures(study: Study, folder: Path) -> Iterator[tuple[Drawing, list[Figure], list[Figure]]]:
    """Each drawing with its figures whose tables are there, and those whose tables are not."""
    for drawing in drawings(study):
        found: dict[bool, list[Figure]] = {True: [], False: []}
        for figure in drawing.job.figures:
            needed = [name for name in figure.needs if name not in figure.spared]
            found[all(_are_kept(folder, drawing.files[name]) for name in needed)].append(figure)
        yield drawing, found[True], found[False]


def _are_kept(folder: Path, files: list[str]) -> bool:
    return all(_kept(folder / file).is_file() for file in files)


def _kept(path: Path) -> Path:
    """The file that stands for a table."""
    return path.with_name(COUNTS) if path.name == ASSIGNMENTS else path


def _expanded(path: Path, temporary: Path) -> Path:
    """A table's file; of splits a table with a row an image, of which no figure asks for its id."""
    kept = _kept(path)
    if kept == path:
        return path
    counts = tables.read_table(kept, [*COUNTED, "images"])
    rows = counts.loc[counts.index.repeat(counts["images"])]
    target = temporary / path.parent.name / path.name
    target.parent.mkdir(exist_ok=True)
    write_csv(target, pd.DataFrame(rows[COUNTED]).assign(id=""))
    return target
