"""Whether a study that abstains has images to make its thresholds with."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from frugalvit.errors import ConfigError

if TYPE_CHECKING:
    from frugalvit.config.experiments import Experiment


def check_calibration(
    config: dict[str, Any],
    split_sets: Mapping[str, dict[str, Any]],
    experiments: "Iterable[Experiment]",
) -> None:
    """Refuse `evaluation.abstain` where an experiment goes by splits without calibration images.

    Raises:
        ConfigError: names the section that lacks them.
    """
    if not config["evaluation"]["abstain"]:
        return
    for folder in sorted({experiment.splits for experiment in experiments}):
        if not split_sets[folder]["calibration"]:
            variant = folder.removeprefix("splits").removeprefix("-")
            where = f"split_variants.{variant}" if variant else "splits"
            raise ConfigError(
                f"{where}.calibration: missing; evaluation.abstain makes its thresholds on calibration "
                "images; add calibration: {from: valid, fraction: 0.5}"
            )
