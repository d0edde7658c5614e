"""Which files describe a weights file; no torch, for the configuration's sake."""

from pathlib import Path

CONFIG = "config.json"
PREPROCESSOR = "preprocessor_config.json"
CARD = "card.json"
OWN = "weights.safetensors"  # what this project calls the weights that it writes


def files_beside(path: Path) -> list[Path]:
    """The files that may describe a weights file: in its folder, or named like it in a mirror.

    Of `owner--name--model.safetensors` they are `owner--name--config.json` and so on.
    """
    if path.name == OWN:
        return [path.with_name(CARD)]
    repository, dashes, _ = path.name.rpartition("--")
    return [path.with_name(f"{repository}{dashes}{name}") for name in (CONFIG, PREPROCESSOR)]
