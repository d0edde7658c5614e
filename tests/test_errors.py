"""An error of the user's is one line, whatever stands in it."""

import pytest

from frugalvit.errors import LONGEST, ConfigError, DataError, WeightsError, shown, within


@pytest.mark.parametrize("kind", [ConfigError, DataError, WeightsError])
def test_what_comes_from_outside_is_escaped(kind):
    odd = "a\nb\r\x1b[31m\0\u2028\u202e\ud800"
    assert str(kind(f"{odd}: wrong")) == (r"a\nb\r\x1b[31m\x00\u2028\u202e\ud800: wrong")
    assert str(kind("Löwenzahn_日本.png: wrong")) == "Löwenzahn_日本.png: wrong"


def test_what_is_escaped_once_stays():
    with pytest.raises(ConfigError, match=r"^key: a\\nb: wrong$"), within("key"):
        raise ConfigError("a\nb: wrong")


def test_a_long_message_keeps_its_key_and_its_remedy():
    text = str(ConfigError(f"key: {'x' * 10**6}; remove it"))
    assert len(text) < LONGEST
    assert text.startswith("key: xxx")
    assert text.endswith("xxx; remove it")


def test_values_are_shown_in_short_even_those_that_python_does_not_write():
    assert shown("a\nb") == r"'a\nb'"
    assert shown("x" * 100) == "'" + "x" * 56 + "..."
    assert shown([10**5000]) == "a list too large to show"
