"""Keys of localization: two heads, their loss, and the augmentation that boxes can follow."""

from typing import Any

from frugalvit.errors import ConfigError
from frugalvit.methods.localize.figures import FIGURES
from frugalvit.methods.localize.marks import MEASURES
from frugalvit.methods.method import Entry, Look, Method, kept_blocks

BLIND = ("trivial_augment", "auto_augment")  # move objects and do not tell where to


def training(raw: dict[str, Any]) -> dict[str, Any]:
    """Heads and loss, and how many blocks are kept, where not all are."""
    return {"localize": raw["localize"], **kept_blocks(raw)}


def check(entry: Entry) -> dict[str, Any]:
    """Check what it keeps of the base."""
    entry.check_kept()
    return {}


def check_schedule(at: str, schedule: list[dict]) -> None:
    """Refuse augmentation that boxes cannot follow."""
    for number, phase in enumerate(schedule):
        for name in BLIND:
            if phase["augment"].get(name):
                raise ConfigError(
                    f"{at}.schedule[{number}].augment.{name}: moves objects without telling where to, "
                    "so boxes would be wrong; set it to false"
                )


def pooled_heads(settings: dict[str, Any]) -> bool:
    """Whether the heads read pooled tokens alone."""
    return settings["localize"]["tokens"] != "grid"


METHOD = Method(
    title="Localization",
    summary="answers the class and the box of one object an image",
    look=Look("localization", "boxes", "P", "#7A4FB5"),
    check=check,
    check_schedule=check_schedule,
    training=training,
    boxed=True,
    pooled_heads=pooled_heads,
    shape=("localize",),
    tables={"pictures": "boxes.csv"},
    measures=MEASURES,
    figures=FIGURES,
)
