"""A run's folder in small: the weights, and all that predicting needs besides."""

import shutil
from pathlib import Path
from typing import Any

from frugalvit.checksums import WEIGHTS
from frugalvit.evaluation.abstaining import SURE
from frugalvit.files import atomic_path, read_csv, write_csv
from frugalvit.methods import registry
from frugalvit.methods.predictor import table_of_points
from frugalvit.operating_point import Point, points_of


def write_run(run: Path, out: Path, card: dict[str, Any], point: Point | None) -> list[Path]:
    """Copy what `methods.predictor` reads of a run.

    Args:
        run: its folder.
        out: folder of the copy.
        card: of the run.
        point: that the copy answers at where none is named.

    Returns:
        The files.
    """
    method = registry.method(card["method"])
    names = [WEIGHTS, "card.json", *(method.tables[name] for name in method.measured)]
    names += [SURE] * (run / SURE).is_file()
    files = [out / name for name in names]
    for file in files:
        with atomic_path(file) as temporary:
            shutil.copyfile(run / file.name, temporary)
    if point is not None:
        known = table_of_points(run, card["method"])
        table = read_csv(known, ("setting", "value"))
        table["chosen"] = [one.name == point.name for one in points_of(table)]
        write_csv(out / known.name, table)
        files.append(out / known.name)
    return files
