"""`frugalvit redraw`: figures and pages of results that were kept; nothing is trained."""

from pathlib import Path

import click


@click.command("redraw")
@click.argument("study")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to draw into; results/reference/STUDY, beside the tables, without it.",
)
def command(study: str, out: Path | None) -> None:
    """Draw the figures of STUDY, the name of a study in results/reference, from its tables alone.

    \b
    Examples:
      frugalvit redraw digits
      frugalvit redraw digits --out /tmp/digits
    """
    from frugalvit.figures import kept

    folder = kept.HOME / study
    drawn, undrawn = kept.redraw(folder, out or folder)
    click.echo(f"{len(drawn)} files drawn in {out or folder}")
    if undrawn:
        click.echo(
            f"not drawn, for {folder / kept.CARD} left their tables out: {', '.join(undrawn)}"
        )
