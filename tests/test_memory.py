"""The tests' measure of memory sees what is taken, also below an earlier peak."""

import numpy as np
import pytest

from tests.memory import at_most


def test_memory_is_seen_below_an_earlier_peak_and_when_it_is_given_back():
    large = np.ones(40_000_000)  # 320 MB
    del large
    with pytest.raises(AssertionError), at_most(100_000):
        np.ones(25_000_000).sum()  # 200 MB
    with at_most(100_000):
        np.ones(1_000_000).sum()
