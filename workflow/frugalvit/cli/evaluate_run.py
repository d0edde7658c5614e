"""`frugalvit evaluate`: a run's metrics on its study's stored images."""

import json
from pathlib import Path

import click

from frugalvit.cli.common import BATCH, DATA, DEVICE, POINT, RUN, SPLIT, fabric_on


@click.command("evaluate")
@RUN
@SPLIT
@POINT
@DATA
@BATCH
@DEVICE
@click.option("--json", "as_json", is_flag=True, help="All metrics as JSON, the lists too.")
def command(
    run: Path,
    split: str,
    point: str | None,
    data: Path | None,
    batch_size: int,
    device: str,
    as_json: bool,
) -> None:
    """Compute the metrics of a RUN anew, those that its metrics.json has.

    The study's images and splits are found by the checksums in the run's card, so that no other images
    are taken for them.

    \b
    Examples:
      frugalvit evaluate results/flowers/runs/tuned-s0
      frugalvit evaluate results/flowers/runs/exits-s0 --split valid --point full --json
    """
    from frugalvit.methods.predictor import Predictor
    from frugalvit.methods.tested_again import StudyImages, answers, metrics_again

    predictor = Predictor(run, point)
    images = StudyImages(run, predictor.card, data).of_split(split)
    fabric, _ = fabric_on(device, predictor.card["precision"], 0, 1)
    answered = answers(predictor, fabric, images, batch_size)
    metrics, left_out = metrics_again(predictor, run, split, answered, images)
    if as_json:
        click.echo(json.dumps(metrics, indent=2))
    else:
        for name, value in metrics.items():
            if not isinstance(value, list):
                shown = f"{value:.6g}" if isinstance(value, float) else value
                click.echo(f"{name:<16} {shown}")
    if left_out:
        click.echo(f"not computed anew: {', '.join(left_out)}; see metrics.json", err=True)
