"""Columns of tables that more than one part of the library writes, and words for what is in them."""

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
