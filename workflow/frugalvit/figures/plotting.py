"""What the one job of drawing does: it reads each table once, and lets each figure's module draw.

Such a module has two names besides its own functions:

- `NEEDS`: name of a table (`figures.inputs`, or its method's own) -> the columns that it reads;
- `plot(given, about)`: from these tables and what it is of (`figures.about`), a matplotlib `Figure`
  or the text of an HTML page.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from frugalvit.figures import style
from frugalvit.figures.about import About
from frugalvit.figures.inputs import TABLES, of_method
from frugalvit.figures.tables import device_of, read_runs, read_table
from frugalvit.files import atomic_path

Files = Mapping[str, str | Path | Sequence[str | Path]]


def draw(
    figures: Mapping[str, Mapping[str, Any]], files: Files, outputs: Files, about: About, dpi: int
) -> None:
    """Draw figures together and write each to its files.

    Args:
        figures: name -> its `module`, and the names of the tables that it `needs`.
        files: name of a table -> its file, or one a run.
        outputs: name of a figure -> its files, one a format.
        about: what they are of; its device is read from the tables.
        dpi: of pictures made of pixels.

    Raises:
        DataError: a table is missing or lacks a column; one line that names the file.
    """
    modules = {name: import_module(figure["module"]) for name, figure in figures.items()}
    given = read(modules.values(), files)
    if "devices" in given:
        about = replace(about, device=device_of(given["devices"], about.experiment))
    for name, module in modules.items():
        drawn = module.plot({table: given[table] for table in figures[name]["needs"]}, about)
        if isinstance(drawn, str):
            for path in _listed(outputs[name]):
                with atomic_path(path) as temporary:
                    temporary.write_text(drawn)
        else:
            style.save(drawn, _listed(outputs[name]), dpi)


def read(modules: Iterable[Any], files: Files) -> dict[str, pd.DataFrame]:
    """Each table that the modules need and that is there, with every column that any of them reads."""
    columns: dict[str, dict[str, None]] = {}
    for module in modules:
        for table, names in module.NEEDS.items():
            if table in files:
                columns.setdefault(table, {}).update(dict.fromkeys(names))
    found = {}
    for name, wanted in columns.items():
        table, paths = TABLES.get(name) or of_method(""), _listed(files[name])
        if table.of_runs:
            found[name] = read_runs(paths, list(wanted), table.may_be_empty)
        else:
            found[name] = read_table(paths[0], list(wanted), table.may_be_empty)
    return found


def _listed(files: str | Path | Sequence[str | Path]) -> Sequence[str | Path]:
    return [files] if isinstance(files, str | Path) else files
