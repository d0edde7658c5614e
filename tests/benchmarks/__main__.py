"""Run every benchmark and print its table."""

import logging

from tests.benchmarks import cached_heads

logging.basicConfig(level=logging.WARNING)

if __name__ == "__main__":
    cached_heads.main()
