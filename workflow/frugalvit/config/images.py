"""A user's own images, counted when the study is read: what they are too few for fails there."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frugalvit.data.sources.all_sources import source
from frugalvit.methods import registry

if TYPE_CHECKING:
    from frugalvit.config.experiments import Experiment


def asked_of_images(
    experiments: "Mapping[str, Experiment]", options: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """What `methods.image_checks.check_images` reads of each experiment.

    Args:
        experiments: of the study.
        options: its `evaluation`.
    """
    return {
        name: {
            "method": experiment.method,
            "splits": experiment.splits,
            "evaluation": experiment.evaluation,
            "options": {key: options[key] for key in registry.method(experiment.method).options},
            "abstain": options["abstain"],
        }
        for name, experiment in experiments.items()
    }


def check_own_images(
    dataset: dict[str, Any],
    split_sets: Mapping[str, dict[str, Any]],
    experiments: Mapping[str, dict[str, Any]],
) -> None:
    """Count the images of a folder by their names, and check as the job does that counts the store's.

    Args:
        dataset: the study's own; of a source that is not `local` nothing is known yet.
        split_sets: folder of splits -> section that divides.
        experiments: of `asked_of_images`.

    Raises:
        ConfigError, DataError: one line with the remedy.
    """
    if not source(dataset["source"]).local:
        return
    # Imported here alone: tables and strata cost each start of Snakemake a second.
    from frugalvit.data.division import index_of
    from frugalvit.data.sources.listing import listed
    from frugalvit.methods.image_checks import check_images

    check_images(index_of(listed(dataset, Path())), split_sets, experiments)
