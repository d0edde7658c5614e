"""The assembled schema: only known keywords, and nothing of the heavy half is needed to read it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import frugalvit
from frugalvit.config.schema import load_schema, method_schema, unknown_keywords
from frugalvit.errors import ConfigError
from frugalvit.methods.registry import METHODS


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
