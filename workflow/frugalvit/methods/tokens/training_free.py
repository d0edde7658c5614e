"""What methods share that work on another experiment's runs, and train nothing."""

from collections.abc import Callable
from typing import Any

from frugalvit.errors import ConfigError
from frugalvit.methods.method import Entry, Look, Method
from frugalvit.methods.tokens.figures import FIGURES


def training_free(
    paper: str, look: Look, check: Callable[[Entry], dict[str, Any]], kept: tuple[str, ...] = ()
) -> Method:
    """A method that thins tokens out of another experiment's models.

    Args:
        paper: what it follows, in a word.
        look: in figures.
        check: of its keys, which calls `check_training_free`.
        kept: keys that a run's card keeps, for what no operating point tells.
    """
    return Method(
        title="Adaptive tokens",
        summary=f"{paper}, without training, on another experiment's runs",
        look=look,
        check=check,
        training=lambda raw: {key: raw[key] for key in kept},
        trains=False,
        answers_from_features=False,
        adaptive=True,
        tables={"untimed": "untimed_points.csv"},
        figures=FIGURES,
    )


def check_training_free(entry: Entry, needed: str, example: str, own: tuple[str, ...]) -> None:
    """Check that there are runs to work on, and no key of training.

    Args:
        entry: of the experiment.
        needed: the method's key that has no default.
        example: of its value.
        own: all of the method's keys.

    Raises:
        ConfigError: one line that names the key and the remedy.
    """
    at, raw, method = entry.at, entry.raw, entry.raw["method"]
    if not raw.get("from"):
        raise ConfigError(f"{at}.from: missing; {method} works on the runs of another experiment")
    allowed = {"method", "from", "seeds", "splits", "base", "image_size", *own}
    for key in raw:
        if key not in allowed:
            raise ConfigError(f"{at}.{key}: {method} trains nothing; remove it")
    if needed not in raw:
        raise ConfigError(f"{at}.{needed}: missing; {method} needs it, e.g. {example}")
