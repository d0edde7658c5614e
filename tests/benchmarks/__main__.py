"""Run every benchmark and print its table; named ones alone: `-m tests.benchmarks early_exits`.

Those that need a large disk or long run only when they are named. Files go to `--folder`, else to the
system's temporary folder.
"""

import argparse
import logging
import tempfile

from tests.benchmarks import (
    cached_heads,
    cached_tokens,
    data_parallel,
    early_exits,
    halting_tokens,
    large_inputs,
    large_store,
    plain_model,
    predicting,
    scratch_step,
    spinning_threads,
    training_step,
)

logging.basicConfig(level=logging.WARNING)

BENCHMARKS = {
    "early_exits": early_exits.main,
    "halting_tokens": halting_tokens.main,
    "cached_heads": cached_heads.main,
    "cached_tokens": cached_tokens.main,
    "data_parallel": data_parallel.main,
    "plain_model": plain_model.main,
    "predicting": predicting.main,
    "training_step": training_step.main,
    "scratch_step": scratch_step.main,
}
NAMED_ONLY = {
    "large_store": large_store.main,
    "large_inputs": large_inputs.main,
    "spinning_threads": spinning_threads.main,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("name", nargs="*", help=", ".join(BENCHMARKS | NAMED_ONLY))
    parser.add_argument("--folder", help="where files go that are removed at the end")
    arguments = parser.parse_args()
    if unknown := set(arguments.name) - set(BENCHMARKS | NAMED_ONLY):
        parser.error(f"no benchmark {min(unknown)}; there are {', '.join(BENCHMARKS | NAMED_ONLY)}")
    tempfile.tempdir = arguments.folder
    for name in arguments.name or BENCHMARKS:
        (BENCHMARKS | NAMED_ONLY)[name]()
