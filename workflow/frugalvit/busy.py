"""When measured times are not to be believed: other processes kept the machine busy meanwhile."""

from collections.abc import Sequence

BUSY_CORES = 0.25  # from which on times are flagged


def load_text(busy_cores: Sequence[float]) -> str:
    """What to say of times, for the number of cores that others kept busy while each was measured.

    Empty where they were few, or where nothing is known (NaN).
    """
    busy = max((cores for cores in busy_cores if cores > BUSY_CORES), default=0.0)
    if not busy:
        return ""
    return (
        f"Other processes kept {busy:.1f} cores busy while times were measured: do not believe these "
        "times; on an idle machine, measure again with --forcerun measure_cost."
    )
