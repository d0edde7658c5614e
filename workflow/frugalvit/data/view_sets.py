"""Names of cached view sets: which augmented views of the training images a head learns on."""

import hashlib
import json

PLAIN = "plain"  # the view without augmentation


def view_set_name(settings: dict) -> str:
    """The view set of a run's first phase: `plain`, or `views-` and a digest of its augmentation.

    Args:
        settings: a run's, with `views` and `schedule`.
    """
    first = next(iter(settings["schedule"]), None)  # what trains nothing has none
    augment = first and first["augment"]
    if not settings["views"] or not augment:
        return PLAIN
    text = json.dumps([settings["views"], augment], sort_keys=True)
    return f"views-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
