"""What can be refused once the images are counted, before anything costly."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from frugalvit.data.division import Division
from frugalvit.data.splits import require_classes
from frugalvit.errors import DataError
from frugalvit.evaluation.promises import CALIBRATION, too_few
from frugalvit.methods import registry


def check_images(
    index: pd.DataFrame,
    split_sets: Mapping[str, dict[str, Any]],
    experiments: Mapping[str, dict[str, Any]],
) -> None:
    """Divide the images as the study says, and let every method refuse what it cannot do with them.

    Args:
        index: as `Division` reads it.
        split_sets: folder of splits -> section that divides.
        experiments: name -> `method`, `splits` (the folder), `evaluation` and `options`, as
            `Method.check_images` takes them, and the study's `abstain`.

    Raises:
        ConfigError, DataError: one line that names the key, and a setting that works with these
            images where there is one.
    """
    require_classes(index)
    divisions = {}
    for folder in sorted({experiment["splits"] for experiment in experiments.values()}):
        variant = folder.removeprefix("splits").removeprefix("-")
        key = f"split_variants.{variant}" if variant else "splits"
        divisions[folder] = Division(index, split_sets[folder], key)
        divisions[folder].assignments  # noqa: B018 - whether they can be divided at all
    for name, asked in experiments.items():
        method = registry.method(asked["method"])
        at, division = f"experiments.{name}", divisions[asked["splits"]]
        method.check_images(at, asked["evaluation"], asked["options"], division)
        # A method that has a use for calibration images of its own keeps some apart, and checks these.
        if not asked["abstain"] or CALIBRATION in method.splits:
            continue
        if told := too_few(division.groups(CALIBRATION), asked["abstain"]):
            raise DataError(told)
