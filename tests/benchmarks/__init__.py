"""Benchmarks: `make bench`. Never part of the tests, because time is not a property of code alone."""
