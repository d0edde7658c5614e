"""Property tests: the same examples on every run, and twenty times as many fresh ones in `make fuzz`.

They lie in tests/test_*_properties.py, which `make fuzz` runs with hypothesis's profile `fuzz`.
"""

from hypothesis import HealthCheck, settings

FUZZ = 20  # as many examples, in `make fuzz`, as in `make test`


def register_profiles() -> None:
    """Profiles `ci`, taken at once, and `fuzz`: neither judges by a clock that others share."""
    calm = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
    settings.register_profile("ci", derandomize=True, **calm)
    settings.register_profile("fuzz", derandomize=False, print_blob=True, **calm)
    settings.load_profile("ci")


def examples(number: int) -> settings:
    """Decorator that tries `number` examples of a property, in `make fuzz` FUZZ times as many."""
    fuzzing = settings.get_current_profile_name() == "fuzz"
    return settings(max_examples=number * (FUZZ if fuzzing else 1))
