"""What can be refused once there is a base, before anything costly."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frugalvit.errors import within
from frugalvit.methods.registry import has, part
from frugalvit.methods.trained import start_run
from frugalvit.training.freezing import freeze_check


def check_bases(
    bases: Mapping[str, Path], experiments: Mapping[str, dict[str, Any]], num_classes: int
) -> dict[str, list[dict[str, Any]]]:
    """Begin every experiment's model, and let its method refuse what it cannot do with it.

    Args:
        bases: folders of the bases at their sizes, by name; none in a study without any.
        experiments: name -> `base`, `settings`, `schedule` and `evaluation`.
        num_classes: of the study.

    Returns:
        What each phase trains and freezes, as `freeze_check` gives it.

    Raises:
        ConfigError: one line that names the key.
    """
    reports: dict[str, list[dict[str, Any]]] = {}
    for name, experiment in experiments.items():
        settings = experiment["settings"]
        with within(f"experiments.{name}"):
            model = start_run(settings, bases.get(experiment["base"]), None, num_classes)
        reports |= freeze_check(model, {name: experiment["schedule"]})
        if has(settings["method"], "check"):
            with within(f"experiments.{name}"):
                check = part(settings["method"], "check").check
                check(model.eval(), settings, experiment["evaluation"])
    return reports
