"""Words that several rooms share: columns, splits, what a phase trains."""

OPERATING_POINTS = [
    "experiment", "run", "seed", "method", "setting", "value", "split", "n", "accuracy",
    "macro_f1", "gflops", "latency_ms", "images_per_s", "mean_depth", "exit_histogram",
    "criterion", "threshold", "latency_p95_ms", "chosen", "note",
]  # fmt: skip

SPLIT_NAMES = {
    "train": "training",
    "valid": "validation",
    "calibration": "calibration",
    "test": "test",
}

# Phases that leave the backbone as it is: `head`, the classifier of a plain model; `heads`, every
# exit's head and the model's own; `exits`, the exits' heads alone.
HEADS = ("head", "heads", "exits")
