"""`frugalvit train`: one run of a study, without Snakemake."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from frugalvit.cli.common import DEVICE, gpus_on, name_of, usable_cores

if TYPE_CHECKING:
    from frugalvit.config.study import Study

PARTS = ("model", "objective")  # of a method, that decide what training computes
TOLD = ("run", "method", "seed", "epochs", "best_epoch", "kept", "n", "train_seconds", "device")


@click.command("train")
@click.argument("study", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--experiment", required=True, help="Of the study; of a matrix, one that it makes.")
@click.option("--seed", type=click.IntRange(0), help="The experiment's first without it.")
@click.option("--lr", type=click.FloatRange(0, min_open=True), help="Learning rate of every phase.")
@click.option(
    "--epochs", type=click.IntRange(1), help="Of all phases; the longest takes what others leave."
)
@click.option("--batch-size", type=click.IntRange(1), help="Images a training step.")
@click.option(
    "--fraction",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Share of the training images that train; the others validate.",
)
@click.option(
    "--unfreeze",
    type=click.Choice(["last", "first", "none"]),
    help="The epoch in which all of the network trains; in the others its head does.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for data/ and results/ of this call.",
)
@DEVICE
@click.option("--threads", type=click.IntRange(1), help="Of the CPU; the study's without it.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def command(
    study: Path,
    experiment: str,
    seed: int | None,
    lr: float | None,
    epochs: int | None,
    batch_size: int | None,
    fraction: float | None,
    unfreeze: str | None,
    out: Path,
    device: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Train one run of STUDY, a YAML file, and all that it needs, without Snakemake.

    Settings that are not given are the study's, and the numbers those of the workflow's run with the
    same settings, seed and threads. Images and pretrained weights that the study has made in data/ and
    results/ are used where they are of the same settings; all else is made in --out, which then looks
    as a study's folder does. Killed, it goes on from the last epoch. Call it in the workflow's folder.

    \b
    Examples:
      frugalvit train config/config.yaml --experiment unfreeze_last --out tried
      frugalvit train config/config.yaml --experiment frozen --lr 0.001 --epochs 4 --batch-size 32
          --fraction 0.8 --unfreeze last --out tried
      frugalvit evaluate tried/results/digits/runs/frozen-s0 --data data/digits
    """
    from frugalvit.config.reading import read_yaml
    from frugalvit.config.study import load_study
    from frugalvit.direct.overrides import changed, one_experiment

    config = changed(
        one_experiment(read_yaml(study), experiment),
        experiment,
        seed=seed,
        fraction=fraction,
        unfreeze=unfreeze,
        training={"lr": lr, "epochs": epochs, "batch_size": batch_size},
    )
    loaded = load_study(config)

    from frugalvit.direct.workspace import Workspace
    from frugalvit.files import read_json

    compute = loaded.config["compute"]
    workspace = Workspace(
        study=loaded,
        out=out,
        home=Path(),
        gpus=gpus_on(device, compute["gpu"]),
        threads=min(threads or compute["threads"], usable_cores()),
        code=code_of(loaded),
    )
    folder = workspace.run(loaded.experiments[experiment].final_runs[0])
    card = read_json(folder / "card.json")
    if as_json:
        told = {"folder": name_of(folder), "store": name_of(workspace.store)}
        told |= {key: card[key] for key in TOLD}
        click.echo(json.dumps(told, ensure_ascii=False, indent=2))
        return
    for line in lines_of(card):
        click.echo(line)
    click.echo(f"now: frugalvit evaluate {name_of(folder)} --data {name_of(workspace.store)}")


def lines_of(card: dict[str, Any]) -> list[str]:
    """What a run's card says, in words."""
    kept = ", ".join(f"{name} {value:.4g}" for name, value in card["kept"].items())
    count = card["n"]
    return [
        f"{card['run']}: {count['train']:,} images trained, {count['valid']:,} validated; "
        f"{card['epochs']} epochs in {card['train_seconds']:.0f} s on {card['device']}",
        f"kept epoch {card['best_epoch']}: {kept}",
    ]


def code_of(study: "Study") -> str:
    """Digest of what trains, so that a run that was killed goes on only with the same code."""
    from frugalvit.jobs.digest import modules_digest

    parts = [f"frugalvit.methods.{method}.{part}" for method in study.methods for part in PARTS]
    return modules_digest(["frugalvit.training.runs", *parts])
