"""Run every benchmark and print its table; named ones alone: `-m tests.benchmarks early_exits`."""

import logging
import sys

from tests.benchmarks import cached_heads, early_exits, halting_tokens

logging.basicConfig(level=logging.WARNING)

BENCHMARKS = {
    "early_exits": early_exits.main,
    "halting_tokens": halting_tokens.main,
    "cached_heads": cached_heads.main,
}

if __name__ == "__main__":
    for name in sys.argv[1:] or BENCHMARKS:
        BENCHMARKS[name]()
