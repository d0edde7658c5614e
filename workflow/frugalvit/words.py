"""Words that several rooms share: splits, what a phase trains."""

SPLIT_NAMES = {
    "train": "training",
    "valid": "validation",
    "calibration": "calibration",
    "test": "test",
}

MIXES = ("mixup", "cutmix")  # keys of `augment` that blend images, and with them their labels


# What `answer.csv` says of a model in its column `status`.
ANSWER, MOST_ACCURATE = "answer", "most accurate"


def heads_alone(train: str | dict) -> bool:
    """Whether a phase that trains this leaves the backbone as it is: `head`, `heads`, `exits` …"""
    return isinstance(train, str) and train != "all"
