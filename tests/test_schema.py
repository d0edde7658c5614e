"""The assembled schema: only known keywords, and nothing of the heavy half is needed to read it."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import frugalvit
from frugalvit.config.lines import key_path
from frugalvit.config.schema import load_schema, method_schema, unknown_keywords, validate
from frugalvit.errors import ConfigError
from frugalvit.methods.registry import METHODS
from tests.schema_places import ONE, fitting, numbers, study_with

NUMBERS = numbers()


def test_no_unknown_keyword_stands_in_the_schema():
    assert unknown_keywords(load_schema()) == []
    Draft202012Validator.check_schema(load_schema())


def test_a_description_that_breaks_at_its_comma_is_found():
    broken = {
        "properties": {
            "share": {"type": "number", "description": "Share kept apart", "the others fit.": None},
            "fine": {"enum": ["x"], "default": {"free": 1}},
        }
    }
    assert unknown_keywords(broken) == ["properties.share.the others fit."]


def test_every_keyword_of_json_schema_may_be_used():
    half = {"description": "Of text", "or not.": None}
    allowed = {"oneOf": [{"type": "string", "minLength": 1, "format": "date"}, {"else": {}}]}
    assert unknown_keywords(allowed) == []
    assert unknown_keywords({"oneOf": [allowed, half]}) == ["oneOf.1.or not."]
    assert unknown_keywords({"patternProperties": {"^a": half}}) == ["patternProperties.^a.or not."]


@pytest.mark.parametrize("method", METHODS)
def test_a_methods_keys_are_written_by_name_and_type(method):
    for key, value in method_schema(method).items():
        assert {"type", "enum", "anyOf", "$ref"} & value.keys(), f"{method}: {key} has no type"


def test_a_room_with_a_stray_keyword_is_told(monkeypatch):
    from frugalvit.config import schema

    real = schema.method_schema

    def with_stray(name):
        return real(name) | {"extra": {"type": "number", "half a sentence": None}}

    monkeypatch.setattr(schema, "method_schema", with_stray)
    with pytest.raises(ConfigError, match=r"extra\.half a sentence: no keyword of a schema"):
        schema.load_schema.__wrapped__()


def test_the_configuration_needs_neither_torch_nor_matplotlib():
    """The Snakefile reads it on every call, and inside each cluster job."""
    code = (
        "import sys; from frugalvit.config.schema import load_schema; load_schema(); "
        "import frugalvit.config.study, frugalvit.config.job_params, frugalvit.figures.shown; "
        "sys.exit(bool({'torch', 'matplotlib', 'sklearn', 'snakemake'} & set(sys.modules)))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(frugalvit.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


@pytest.mark.parametrize("steps", NUMBERS, ids=key_path)
def test_no_number_is_infinite_or_nan(steps):
    for value in (math.nan, math.inf, -math.inf, "nan", "inf", "1e400", "-1e400"):
        with pytest.raises(ConfigError) as caught:
            validate(study_with(steps, value))
        told = str(caught.value)
        assert key_path(steps).startswith(told.partition(":")[0]), told
        assert "is not a finite number; write one" in told or "is not allowed; write" in told, told


@pytest.mark.parametrize("steps", NUMBERS, ids=key_path)
def test_text_that_is_plainly_a_number_is_that_number(steps):
    for number in fitting(NUMBERS[steps]):
        for text in (f"{number:e}", f"{number:E}", str(number)):
            taken = validate(study_with(steps, text))
            for step in steps:
                taken = taken[step]
            assert taken == number, text
            assert isinstance(taken, int | float)
    with pytest.raises(ConfigError):
        validate(study_with(steps, "five"))


def test_a_whole_number_is_not_taken_from_a_text_with_a_fraction():
    with pytest.raises(ConfigError, match=r"training.batch_size: 1.5 is not a whole number"):
        validate(study_with(("training", "batch_size"), "1.5e0"))


@pytest.mark.parametrize("text", ["1_000", "٣", "0x10", " 1", "1e", "e5", "1,5", "½", "1e5\n"])
def test_other_text_is_no_number(text):
    with pytest.raises(ConfigError, match=r"^training.lr: .* is not a number or null"):
        validate(study_with(("training", "lr"), text))


def test_text_stays_text_where_text_is_wanted():
    assert validate(study_with(("dataset", "path"), "1e5"))["dataset"]["path"] == "1e5"
    assert validate(study_with(("study",), "e5"))["study"] == "e5"


@pytest.mark.parametrize("value", [[0.5, 0.5, 0], [0.5, -0.1, 0.5], [57.4, 57.1, 58.4]])
def test_a_spread_of_a_channel_is_above_nothing_and_of_0_to_1(value):
    with pytest.raises(ConfigError, match=r"^base.std\[\d\]: "):
        validate(study_with(("base", "std"), value))


@pytest.mark.parametrize(
    "name", ["x" * 61, "a" * 20, "b" + "ab" * 20, "a\n", "", "ä", "x" * 10**6], ids=len
)
def test_names_fit_files_and_snakemake(name):
    with pytest.raises(ConfigError, match="is not allowed; write lower-case letters, digits"):
        validate(study_with(("study",), name))
    with pytest.raises(ConfigError, match="is not allowed; write lower-case letters, digits"):
        validate(study_with((*ONE, "from"), name))


@pytest.mark.parametrize("name", ["x1" * 19, "abcdefghij" * 6])
def test_long_names_are_taken(name):
    assert validate(study_with(("study",), name))["study"] == name


def test_a_pattern_ends_where_the_text_does():
    with pytest.raises(ConfigError, match=r"^dataset.sha256: '0000"):
        validate(study_with(("dataset", "sha256"), "0" * 64 + "\n"))


def test_true_is_not_1_in_a_list_of_different_things():
    both = study_with((*ONE, "grid"), {"parameters": {"views": [1, True, 2, "1", None]}})
    assert validate(both)
    for values in ([1, 1.0], [{"a": [1]}, {"a": [1.0]}], [[], []]):
        with pytest.raises(ConfigError, match="names an entry twice"):
            validate(study_with((*ONE, "grid"), {"parameters": {"views": values}}))


def test_odd_keys_are_shown_in_one_line():
    for key in ("a\nb", "\x1b[2J", "x" * 10**6, None, 1, 2.5, True, ("a",), b"x"):
        with pytest.raises(ConfigError, match=r"unknown key") as caught:
            validate(study_with(("training",), {key: 1}))
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "path", ["x" * 256, "é" * 128, "a/" * 2100, "a\0b", "\ud800", "a/" + "9" * 5000 + "/b"], ids=len
)
def test_no_path_is_longer_than_a_file_system_takes(path):
    for steps in (("mirror",), ("dataset", "path"), ("base", "file"), ("dataset", "class_names")):
        with pytest.raises(
            ConfigError, match=r"cannot be a path; each name in it has 255 bytes"
        ) as told:
            validate(study_with(steps, path))
        assert str(told.value).startswith(key_path(steps))


def test_an_address_is_longer_than_a_name_of_a_file():
    address = "https://example.org/x.tar?signed=" + "x" * 300
    assert validate(study_with(("dataset", "path"), address))["dataset"]["path"] == address
