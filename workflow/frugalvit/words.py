"""Words that several rooms share: splits, what a phase trains."""

SPLIT_NAMES = {
    "train": "training",
    "valid": "validation",
    "calibration": "calibration",
    "test": "test",
}


def heads_alone(train: str | dict) -> bool:
    """Whether a phase that trains this leaves the backbone as it is: `head`, `heads`, `exits` …"""
    return isinstance(train, str) and train != "all"
