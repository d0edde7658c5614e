"""`frugalvit predict`: a trained run classifies photos."""

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import click

from frugalvit.cli.common import BATCH, DEVICE, POINT, RUN, fabric_on, name_of
from frugalvit.errors import one_line


class Writer(Protocol):
    """Writes rows to standard output as they come."""

    def write(self, row: dict[str, Any]) -> None:
        """One row."""


class Table:
    """Columns as wide as their widest value can be; the file's name comes last."""

    def __init__(self, columns: list[str], classes: list[str]):
        self.order = [*(name for name in columns if name != "file"), "file"]
        longest = max(len(one_line(name)) for name in classes)
        self.widths = {name: max(8, len(name)) for name in self.order[:-1]}
        self.widths["class"] = max(longest, len("class"))
        self.write({name: name for name in columns})

    def write(self, row: dict[str, Any]) -> None:
        """One line."""
        cells = []
        for name, width in self.widths.items():
            text = one_line(str(row[name]))
            cells.append(text.ljust(width) if name == "class" else text.rjust(width))
        click.echo("  ".join([*cells, one_line(str(row["file"]))]))


class CSV:
    """Comma-separated values with a header."""

    def __init__(self, columns: list[str], classes: list[str]):
        self._writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
        self._writer.writeheader()

    def write(self, row: dict[str, Any]) -> None:
        """One line, or more where a name holds a line break."""
        self._writer.writerow(row)


class JSONLines:
    """A JSON object a line."""

    def __init__(self, columns: list[str], classes: list[str]):
        self._columns = columns

    def write(self, row: dict[str, Any]) -> None:
        """One line."""
        told = {name: row[name] for name in self._columns}
        click.echo(json.dumps(told, ensure_ascii=False))


FORMATS: dict[str, Callable[[list[str], list[str]], Writer]] = {
    "table": Table,
    "csv": CSV,
    "jsonl": JSONLines,
}


@click.command("predict")
@RUN
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--budget", type=float, help="The operating point of this budget: --point 'budget B'."
)
@POINT
@click.option(
    "--abstain",
    is_flag=True,
    help="Say 'unsure' below the confidence that keeps the promise of evaluation.abstain.",
)
@click.option(
    "--format", "form", type=click.Choice(list(FORMATS)), default="table", help="Of the output."
)
@click.option("--json", "form", flag_value="jsonl", help="The same as --format jsonl.")
@BATCH
@click.option("--workers", type=click.IntRange(0), help="Processes that decode while one computes.")
@DEVICE
def command(
    run: Path,
    images: tuple[Path, ...],
    budget: float | None,
    point: str | None,
    abstain: bool,
    form: str,
    batch_size: int,
    workers: int | None,
    device: str,
) -> None:
    """Classify IMAGES, files or folders of them, with the RUN that lies in a folder.

    With the folder of a study, the model of its answer is taken. With --abstain an image of which the
    run is not sure enough has no class, and 'unsure' is true.

    A row an image: its class, the probability, where the method tells it the exit (block) at which the
    image left, the mean depth of its tokens (blocks) or the box of the object (px of the upright
    photo), and its share of the milliseconds that the batch took. Files that cannot be read are named
    on standard error and left out; the exit code is then 1.

    \b
    Examples:
      frugalvit predict results/flowers photos/
      frugalvit predict results/flowers/runs/exits-s0 photos/
      frugalvit predict results/flowers/runs/exits-s0 a.jpg --budget 0.6
      frugalvit predict results/flowers/runs/tuned-s0 photos/ --abstain
      frugalvit predict results/flowers/runs/halting-s0 a.jpg --point 'eps 0.1'
      frugalvit predict results/flowers/runs/tuned-s0 photos/ --format csv > answers.csv
    """
    if budget is not None:
        if point:
            raise click.UsageError("--budget and --point name one thing; give one of them")
        point = f"budget {budget:g}"

    from frugalvit.data.photos import photo_files
    from frugalvit.jobs.progress import Progress
    from frugalvit.methods.predictor import Predictor, answer_of

    files = photo_files(images)
    run, chosen = answer_of(run)
    predictor = Predictor(run, point or chosen, abstain)
    batches = -(-len(files) // batch_size)
    fabric, workers = fabric_on(device, predictor.card["precision"], workers, batches)
    writer = FORMATS[form](predictor.columns, predictor.classes)
    bad = 0
    with Progress("predict", len(files), "images") as shown:
        for found in predictor.predict(fabric, files, batch_size, workers):
            for row in found.rows:
                writer.write(row | {"file": name_of(row["file"])})
            for file, why in found.faults:
                click.echo(f"left out {one_line(name_of(file))}: {one_line(why)}", err=True)
            bad += len(found.faults)
            shown.advance(len(found.rows) + len(found.faults))
    if bad:
        click.echo(f"{bad} of {len(files)} files cannot be read and are left out", err=True)
    click.get_current_context().exit(int(bad > 0))
