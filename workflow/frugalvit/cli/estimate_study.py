"""`frugalvit estimate`: how long a study will take, and how much room it needs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from frugalvit.cli.common import usable_cores
from frugalvit.errors import ConfigError, DataError

if TYPE_CHECKING:
    from frugalvit.config.study import Study
    from frugalvit.methods.expected import Counts, Expected

CLASSES = 10  # of the network that is timed: how many there are changes no time worth telling
POSITIVE = click.FloatRange(0, min_open=True)
FILE = "estimate.json"  # beside the study's results, for what it took in the end


@click.command("estimate")
@click.argument("study", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--cores", type=click.IntRange(1), help="Cores that the workflow may use; all of them."
)
@click.option(
    "--seconds", type=POSITIVE, default=1.0, show_default=True, help="Of each measurement."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.option(
    "--took", type=POSITIVE, help="Seconds that the study took: say how far off the estimate was."
)
def command(
    study: Path, cores: int | None, seconds: float, as_json: bool, took: float | None
) -> None:
    """Tell how long STUDY, a YAML file, will take on this machine's CPU, rule by rule.

    A network of the base's shape is timed for a few seconds on the threads that a job gets; runs with
    networks of their own are counted as if they had the base's. Images are counted where the study's are
    prepared, or in a folder; nothing is trained.

    \b
    Examples:
      frugalvit estimate config/config.yaml
      frugalvit estimate config/studies/your_images.yaml --cores 8
    """
    if took is not None:
        click.echo(compared(study, took))
        return
    import torch

    from frugalvit.config.reading import read_yaml
    from frugalvit.config.study import load_study
    from frugalvit.files import write_json
    from frugalvit.methods.expected import (
        expected_jobs,
        measure_speeds,
        room_needed,
        wall_seconds,
    )

    loaded = load_study(read_yaml(study))
    cores = cores or usable_cores()
    threads = min(loaded.config["compute"]["threads"], cores)
    counts, stored = counted(loaded, study)
    shapes = {base: architecture_of(loaded, base, study) for base in loaded.bases}
    torch.set_num_threads(threads)
    batch, evaluated = (
        loaded.config["training"]["batch_size"],
        loaded.config["evaluation"]["batch_size"],
    )
    speeds = {
        base: measure_speeds(shape, CLASSES, batch, evaluated, seconds)
        for base, shape in shapes.items()
    }
    jobs = expected_jobs(loaded, counts, speeds, stored)
    slots = max(1, cores // threads)
    whole = wall_seconds(jobs, slots)
    room = room_needed(loaded, shapes, next(iter(counts.values())), slots)
    record: dict[str, Any] = {
        "study": loaded.name,
        "seconds": round(whole, 1),
        "cores": cores,
        "threads": threads,
        "rules": {job.rule: {"jobs": job.jobs, "seconds": round(job.seconds, 1)} for job in jobs},
        "room_gb": {name: round(size, 3) for name, size in room.items()},
    }
    folder = Path("results") / loaded.name
    if not (folder / "summary.csv").exists():
        write_json(folder / FILE, record)
    click.echo(json.dumps(record)) if as_json else _print(record, jobs)


def _print(record: dict[str, Any], jobs: "list[Expected]") -> None:
    for job in jobs:
        beside = "" if job.jobs == 1 else f" in {job.jobs} jobs"
        click.echo(f"{minutes(job.seconds):>10}  {job.rule}{beside}")
    cores, threads = record["cores"], record["threads"]
    click.echo(
        f"{minutes(record['seconds']):>10}  by the clock, with {cores} cores and {threads} a job; "
        "downloads apart"
    )
    room = ", ".join(f"{size:.2f} GB of {name}" for name, size in record["room_gb"].items())
    click.echo(f"room: {room}")


def compared(study: Path, took: float) -> str:
    """What a finished study took, beside what was expected of it.

    Raises:
        ConfigError: the file is no study.
        DataError: nothing was estimated.
    """
    from frugalvit.config.reading import read_yaml
    from frugalvit.files import read_json

    name = read_yaml(study).get("study")
    if not isinstance(name, str):
        raise ConfigError(f"{study}: study: missing; add it (the name of the study)")
    expected = float(read_json(Path("results") / name / FILE)["seconds"])
    off = 100 * (expected / took - 1)
    return f"It took {minutes(took)}; {minutes(expected)} were expected ({off:+.0f} %)."


def minutes(seconds: float) -> str:
    """'4 min 48 s', '12 s', '3 h 5 min'."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def counted(study: "Study", file: Path) -> "tuple[dict[str, Counts], bool]":
    """Images of each folder of splits, and whether they are prepared.

    Raises:
        DataError: nothing is known of the images yet.
    """
    from frugalvit.data.division import Division, index_of
    from frugalvit.data.sources.all_sources import source
    from frugalvit.data.sources.listing import listed
    from frugalvit.data.store import read_index
    from frugalvit.methods.expected import Counts

    path = Path("data") / study.dataset / "store" / "index.csv"
    dataset = study.datasets[study.dataset]
    if path.exists():
        index = read_index(path)
    elif source(dataset["source"]).local:
        index = index_of(listed(dataset, Path()))
    else:
        raise DataError(
            f"{path}: the images are not here yet, so nobody knows how many; fetch them first: "
            f".venv/bin/snakemake --cores 1 --configfile {file} -- {path}"
        )
    found = {}
    for splits in study.used_splits:
        division = Division(index, study.split_sets[splits], splits)
        names = ("train", "valid", "calibration", "test")
        found[splits] = Counts(*(division.count(name) for name in names))
    return found, path.exists()


def architecture_of(study: "Study", folder: str, file: Path) -> dict[str, Any]:
    """That of a base at a size, from its card, the configuration or its weights file.

    Raises:
        ConfigError: none of them tells.
    """
    from frugalvit.config.bases import base_key
    from frugalvit.config.related import known_architecture
    from frugalvit.data.mirror import find_file
    from frugalvit.files import read_json
    from frugalvit.models.timm_models import describe_model
    from frugalvit.models.weights.load import load_file

    base, key = study.bases[folder].settings, base_key(study.bases[folder].name)
    card = Path("results") / study.name / folder / "card.json"
    if not study.based:
        raise ConfigError(
            "base: missing; estimate times the base's shape, and tells of no study of networks of their "
            "own alone"
        )
    if card.exists():
        return read_json(card)["architecture"]
    if known := known_architecture(base):
        return known
    if base["source"] == "timm":
        return describe_model(base["architecture"], base["image_size"])
    if base["source"] == "file":
        path = find_file(base["file"], study.mirror, f"{key}.file")
        stated = base["architecture"] or {}
        _, architecture, _ = load_file(
            path, image_size=base["image_size"], num_heads=stated.get("num_heads"), expected=stated
        )
        return architecture
    raise ConfigError(
        f"{key}: its shape is known once it is downloaded; make it first: "
        f".venv/bin/snakemake --cores 1 --configfile {file} -- {card}"
    )
