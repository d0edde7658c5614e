"""Keys and words that belong to one method, in experiments of another."""

from frugalvit.config.schema import method_schema
from frugalvit.errors import ConfigError
from frugalvit.methods import registry
from frugalvit.methods.method import PLAIN as PLAIN_METHOD
from frugalvit.words import heads_alone


def check_own_keys(at: str, raw: dict) -> None:
    """Refuse keys that only other methods have; the schema checked nothing about them.

    Args:
        at: key of the experiment.
        raw: its entry.

    Raises:
        ConfigError: names the methods that have it.
    """
    own = method_schema(raw["method"])
    for name in registry.METHODS:
        for key in method_schema(name):
            if key in raw and key not in own:
                owners = [other for other in registry.METHODS if key in method_schema(other)]
                raise ConfigError(
                    f"{at}.{key}: only method {' and '.join(owners)} has this; remove it, or set "
                    f"method: {owners[0]}"
                )


def check_words(at: str, schedule: list[dict], own: tuple[str, ...]) -> None:
    """Refuse phases that train heads by another method's words.

    Args:
        at: key of the experiment.
        schedule: its phases.
        own: words of its method.

    Raises:
        ConfigError: names the phase, and what to write.
    """
    for index, phase in enumerate(schedule):
        word = phase["train"]
        if not heads_alone(word) or word in own:
            continue
        where, instead = f"{at}.schedule[{index}].train", ", or ".join(own) or "all"
        if word in registry.method(PLAIN_METHOD).head_phases:
            raise ConfigError(f"{where}: '{word}' is the plain model's; write {instead}")
        owners = [name for name in registry.METHODS if word in registry.method(name).head_phases]
        raise ConfigError(
            f"{where}: '{word}' is for method {' and '.join(owners)}; write {(*own, 'all')[0]}"
        )
