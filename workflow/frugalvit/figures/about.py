"""What a figure is of: whatever a figure says or asks that stands in no table."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class About:
    """What one job of drawing is of.

    Attributes:
        study: its name.
        width_mm: of the page.
        experiment: the one that is drawn; empty where a figure is of none.
        splits: folder of splits, where a figure is of one.
        device: that the experiment's runs were trained on; empty where none is recorded.
        options: what the figures ask of the configuration, see `figures.shown`.
    """

    study: str
    width_mm: float
    experiment: str = ""
    splits: str = ""
    device: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def of_study(self) -> dict[str, Any]:
        """Arguments of a figure that is of no experiment."""
        return {"study": self.study, "width_mm": self.width_mm}

    @property
    def of_experiment(self) -> dict[str, Any]:
        """Arguments of a figure of one experiment."""
        return {**self.of_study, "experiment": self.experiment, "device": self.device}
