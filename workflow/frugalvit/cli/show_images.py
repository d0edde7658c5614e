"""`frugalvit show`: draws what a run answers to single images of its study."""

from pathlib import Path

import click

from frugalvit.cli.common import DATA, DEVICE, POINT, RUN, SPLIT, fabric_on
from frugalvit.errors import ConfigError

WIDTH, DPI = 180.0, 200  # mm; of pixels


@click.command("show")
@RUN
@click.argument("places", nargs=-1, type=click.IntRange(0), metavar="[NUMBER]...")
@click.option(
    "--images",
    "first",
    multiple=True,
    type=click.IntRange(0),
    help="The same as NUMBERs, before them.",
)
@SPLIT
@POINT
@DATA
@DEVICE
@click.option(
    "--out", type=click.Path(path_type=Path), help="A png, svg or pdf; RUN.png without it."
)
def command(
    run: Path,
    places: tuple[int, ...],
    first: tuple[int, ...],
    split: str,
    point: str | None,
    data: Path | None,
    device: str,
    out: Path | None,
) -> None:
    """Draw images of a split, by their NUMBERs from 0, with the answers of a RUN.

    Where tokens halt, with how deep each went; where boxes are learnt, with both boxes; else with the
    class, the probability and where the image left.

    \b
    Examples:
      frugalvit show results/flowers/runs/halting-s0 --images 22 29 40
      frugalvit show results/flowers/runs/exits-s0 0 1 2 --split valid --out exits.svg
    """
    numbers = [*first, *places]
    if not numbers:
        raise click.UsageError("which images? give their numbers: --images 22 29 40")

    from frugalvit.figures.style import METADATA, save

    if out and out.suffix.lstrip(".") not in METADATA:
        raise ConfigError(
            f"--out: {out}: '{out.suffix}' is no format of a picture; use {', '.join(METADATA)}"
        )

    from frugalvit.devices.fabric import device_name
    from frugalvit.figures.about import About
    from frugalvit.methods.predictor import Predictor
    from frugalvit.methods.showing_images import draw
    from frugalvit.methods.tested_again import StudyImages, answers

    predictor = Predictor(run, point)
    images = StudyImages(run, predictor.card, data).of_split(split, numbers)
    fabric, _ = fabric_on(device, predictor.card["precision"], 0, 1)
    answered = answers(predictor, fabric, images, len(numbers))
    place = run.resolve()
    about = About(
        study=place.parent.parent.name,
        width_mm=WIDTH,
        experiment=place.name,
        device=device_name(fabric.device),
    )
    target = out or Path(f"{place.name}.png")
    save(draw(predictor, split, answered, images, about), [target], DPI)
    click.echo(target)
