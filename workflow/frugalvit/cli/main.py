"""The command `frugalvit`: finds its parts, and ends with one line and an exit code.

Exit codes: 0 good, 1 some files could not be used, 2 wrong use or nothing could be done, 3 an error of
the program. A command's file imports only click at its top: torch alone takes seconds to load.
"""

import sys
import traceback
from importlib import import_module
from typing import NoReturn

import click

from frugalvit.jobs.messages import ERROR
from frugalvit.jobs.run import mistake, start_log

# Name -> module beside this one, whose `command` it is.
COMMANDS = {
    "new": "new_study",
    "estimate": "estimate_study",
    "train": "train_one",
    "predict": "predict_photos",
    "evaluate": "evaluate_run",
    "show": "show_images",
    "keep": "keep_study",
    "redraw": "redraw_study",
    "export": "export_model",
}
WRONG, BUG, STOPPED = 2, 3, 130


class Commands(click.Group):
    """Commands that are loaded when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order in which they are of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name."""
        if cmd_name not in COMMANDS:
            return None
        return import_module(f"frugalvit.cli.{COMMANDS[cmd_name]}").command


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""Exit codes: 0 good, 1 some files could not be used, 2 wrong use.

    \b
    Completion of words in bash (zsh and fish alike):
      eval "$(_FRUGALVIT_COMPLETE=bash_source frugalvit)"
    """,
)
@click.version_option(package_name="frugalvit")
def frugalvit() -> None:
    """How little Vision Transformer is enough for your images.

    What the workflow has trained lies in results/STUDY/runs/RUN; these commands use it.

    \b
    Examples:
      frugalvit new my_flowers --images photos
      frugalvit predict results/flowers/runs/exits-s0 photos/
      frugalvit predict --help
    """


def main() -> NoReturn:
    """Run a command; a user's mistake is one line on standard error."""
    start_log(None)
    try:
        code = frugalvit.main(prog_name="frugalvit", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = WRONG
    except (click.Abort, KeyboardInterrupt):
        code = STOPPED
    except Exception as error:
        told = mistake(error)
        if told:
            click.echo(f"{ERROR}{told}", err=True)
        else:
            traceback.print_exception(error)
        code = WRONG if told else BUG
    sys.exit(code)


if __name__ == "__main__":
    main()
