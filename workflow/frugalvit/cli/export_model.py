"""`frugalvit export`: a run as files that other programs run, compared with the run."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from frugalvit.busy import BUSY_CORES
from frugalvit.cli.common import BATCH, DATA, POINT, RUN, SPLIT, fabric_on, name_of

if TYPE_CHECKING:
    from frugalvit.export.run_export import Export

FORMATS = ("onnx", "safetensors", "torch-export")
APART = 1  # exit code where the export does not answer as the run does


@click.command("export")
@RUN
@click.option("--format", "form", type=click.Choice(FORMATS), default="onnx", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Folder; RUN-FORMAT without it.")
@POINT
@click.option("--int8", is_flag=True, help="Weights of eight bits; of onnx alone.")
@SPLIT
@DATA
@click.option(
    "--photos",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the study's image files: compare from these too, decoding included.",
)
@click.option("--unchecked", is_flag=True, help="Compare nothing, where the images are not here.")
@BATCH
@click.option("--json", "as_json", is_flag=True, help="Print export.json.")
def command(
    run: Path,
    form: str,
    out: Path | None,
    point: str | None,
    int8: bool,
    split: str,
    data: Path | None,
    photos: Path | None,
    unchecked: bool,
    batch_size: int,
    as_json: bool,
) -> None:
    """Write a RUN as files that other programs run, and compare these with it.

    With the folder of a study, the model of its answer is taken. Graphs (onnx, torch-export) read
    stored pixels, uint8, and normalise them; beside them lies runner.py, which reads photos as the
    workflow does and needs numpy and onnxruntime alone. Early exits are a graph from exit to exit.
    safetensors is the run's folder in small, for frugalvit predict and other programs of torch.

    The export answers every image of the split from its files as the run does, else the exit code is
    1. What was compared and timed is printed and stands in export.json.

    \b
    Examples:
      frugalvit export results/flowers/runs/exits-s0
      frugalvit export results/flowers/runs/tuned-s0 --int8
      frugalvit export results/flowers/runs/halting-s0 --point 'masked 0.01'
      frugalvit export results/flowers --format safetensors --out flowers-model
    """
    if int8 and form != "onnx":
        raise click.UsageError(f"--int8: is of --format onnx, not of {form}")
    if unchecked and photos:
        raise click.UsageError("--unchecked and --photos exclude each other; give one of them")

    import torch

    from frugalvit.export.onnx_files import require_packages
    from frugalvit.export.run_export import Export
    from frugalvit.methods.predictor import Predictor, answer_of

    if form == "onnx":
        require_packages()
    run, chosen = answer_of(run)
    predictor = Predictor(run, point or chosen)
    predictor.module.to(torch.device("cpu"))
    folder = out or Path(f"{run.resolve().name}-{form}{'-int8' if int8 else ''}")
    export = Export(run, predictor, form, folder, int8)
    images = None if unchecked else _images(run, predictor.card, data, split)
    card = export.write() | {"split": split, "check": None, "check_photos": None, "time": None}
    if images is not None:
        fabric, _ = fabric_on("cpu", "32-true", 0, 1)
        card |= export.compare(fabric, images, batch_size)
        if photos:
            card["check_photos"] = export.compare_files(fabric, images, photos)
    export.finish(card)
    click.echo(json.dumps(card, ensure_ascii=False, indent=2) if as_json else _said(export, card))
    apart = not int8 and any(
        check and not check["same"] for check in (card["check"], card["check_photos"])
    )
    if apart:
        click.echo(f"{name_of(folder)}: does not answer as the run does", err=True)
    click.get_current_context().exit(APART if apart else 0)


def _images(run: Path, card: dict[str, Any], data: Path | None, split: str) -> Any:
    from frugalvit.errors import DataError
    from frugalvit.methods.tested_again import StudyImages

    try:
        return StudyImages(run, card, data).of_split(split)
    except DataError as error:
        raise DataError(f"{error}, or export --unchecked") from error


def _said(export: "Export", card: dict[str, Any]) -> str:
    """What was written and found, for people."""
    out = name_of(export.out)
    lines = [f"{out}: {', '.join([*card['files'], 'export.json'])}"]
    if card["point"]:
        lines.append(f"answers at {card['point']['name']}")
    for key, where in (("check", f"{card['split']} images"), ("check_photos", "image files")):
        if check := card[key]:
            lines += _compared(check, where)
    if times := card["time"]:
        ms = ", ".join(f"{name} {value:.3g} ms" for name, value in times["ms"].items())
        saved = f"; {times['saved']:.0%} saved of whole" if "saved" in times else ""
        lines.append(f"an image at batch 1, {times['threads']} threads: {ms}{saved}")
        if times["busy_cores"] > BUSY_CORES:
            lines.append(
                f"other work kept {times['busy_cores']:.1f} cores busy: do not believe these times"
            )
    if card["check"] is None:
        lines.append("compared with nothing: --unchecked")
    return "\n".join(lines)


def _compared(check: dict[str, Any], where: str) -> list[str]:
    lines = [
        f"{check['n']:,} {where}: accuracy {check['accuracy_run']:.4f} of the run, "
        f"{check['accuracy']:.4f} of the export; {check['answers_differ']} answers differ; "
        f"probabilities by at most {check['largest_probability_difference']:.1e}"
    ]
    if "exits_differ" in check:
        lines.append(f"{check['exits_differ']} images leave at another exit")
    lines += [
        f"{name.split('_')[1]}: at most {check[name]:.1e} apart"
        for name in check
        if name.startswith("largest_") and "probability" not in name
    ]
    for key, words in (("missing", "have no file"), ("refused", "are not read by runner.py")):
        if check.get(key):
            lines.append(f"{check[key]} images {words}")
    return lines
