"""`frugalvit keep`: a finished study's tables and cards, where no run overwrites them."""

from pathlib import Path

import click


@click.command("keep")
@click.argument("study", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--results",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the study's results; results/STUDY without it.",
)
def command(study: Path, results: Path | None) -> None:
    """Copy the tables and cards of STUDY, a YAML file, into results/reference.

    They are small enough for the repository (1 MB at most), no run writes there, and `frugalvit redraw`
    draws from them. What was kept of the study earlier is replaced. Tables that are too large are left
    out whole, the largest first, and so are the figures that need them: both are told here and in the
    folder's card.json. Weights, images, pages and pictures are never kept.

    \b
    Examples:
      frugalvit keep config/config.yaml
      frugalvit keep config/studies/fashion_mnist.yaml
    """
    from frugalvit.config.reading import read_yaml
    from frugalvit.config.study import load_study
    from frugalvit.figures import kept

    name = load_study(read_yaml(study)).name
    card = kept.keep(study, results or Path("results") / name, kept.HOME)
    folder = kept.HOME / name
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    count = len(card[kept.KEY]) + 1
    click.echo(
        f"{folder}: {count} files, {size:,} bytes; {', '.join(card['devices'])}, {card['date']}"
    )
    for table, left in card["left_out"].items():
        click.echo(f"left out: {table}, {left['files']} files of {left['bytes']:,} bytes in all")
    if card["figures_left_out"]:
        click.echo(f"not to be redrawn from it: {', '.join(card['figures_left_out'])}")
