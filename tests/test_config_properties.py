"""Any configuration is a study or one line: mutated studies, mutated files, numbers as text."""

import copy
import datetime
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frugalvit.config.grids import MOST_RUNS
from frugalvit.config.lines import key_path
from frugalvit.config.reading import read_yaml, retype
from frugalvit.config.schema import load_schema, merge, method_schema, validate
from frugalvit.config.study import Study, load_study
from frugalvit.errors import LONGEST, ConfigError, FrugalError
from frugalvit.methods.registry import METHODS
from tests.properties import examples
from tests.schema_places import numbers, study_with
from tests.workflows import ROOT

FILES = [
    ROOT / "config" / "config.yaml",
    ROOT / "tests" / "studies" / "tiny.yaml",
    *sorted((ROOT / "config" / "studies").glob("*.yaml")),
]
STUDIES = {path.stem: read_yaml(path) for path in FILES}
del STUDIES["your_images"]  # whose folder is the user's to name
NUMBERS = numbers()


@pytest.fixture(autouse=True, scope="module")
def at_root():
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.delenv("FRUGALVIT_MIRROR", raising=False)
        yield


def keys_of(part: Any) -> set[str]:
    """Every name of a key in a schema."""
    if isinstance(part, list):
        return set().union(*map(keys_of, part))
    if not isinstance(part, dict):
        return set()
    named = part.get("properties", {})
    return {key for key in named if isinstance(key, str)}.union(*map(keys_of, part.values()))


KEYS = sorted(keys_of(load_schema()).union(*(method_schema(name) for name in METHODS)))


def nested(depth: int) -> list:
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


def holding_itself() -> dict:
    value: dict = {}
    value["again"] = [value]
    return value


def odd() -> list:
    """Values that no key takes, or few. None names a folder that exists: its images would be counted."""
    return [
        0, -1, 1, 2, 7, 50, 2**31, 2**63, -(2**63), 10**400, 10**5000, True, False, None,
        0.5, 1.0, -0.5, 1e-320, 1e308, math.nan, math.inf, -math.inf,
        "", "1e-5", "1E5", "nan", ".nan", "1e400", "0x10", "null", "9" * 5000, "-1", "½", "٣",
        "all", "rest", "head", "heads", "base", "frozen", "plateau", *METHODS,
        "a" * 20, "a" * 61, "a" * 300, "a" * 10**5, "a\nb", "\x1b[31m", "\ud800", "é" * 200, "\0",
        "\u2028", "~no_such_user/images", "~no_such_user", "./nowhere/" + "x/" * 3000, "*", "[",
        "http://[", "https://example.org/x.tar", "https://example.org/" + "x" * 5000,
        {}, [], [[]], {"": None}, {None: 1}, {1: 2}, {"a\nb": 1}, {(1, 2): 3}, {True: False},
        {10**5000: 1},
        {"blocks": 1}, {"blocks": "1e0"}, {"blocks": math.inf}, [1, 1.0], [{}, {}], [math.nan, math.nan],
        [0.5, "a", None], [0.1, 0.2, 0.3], [[1]] * 3, list(range(2000)), nested(60), nested(1200),
        datetime.date(2026, 1, 1), datetime.datetime(2026, 1, 1), b"bytes", {1, 2}, (1, 2), 1j, object,
        {"parameters": {"lr": [0.1, 0.2]}}, {"parameters": {"lr": ["1e-3", 0.001]}},
        {"parameters": {"schedule[0].lr": [0.1]}, "max_sets": 1}, {"parameters": {1: [1], "lr": [1]}},
        {"parameters": {f"schedule[{n}].lr": list(range(1, 99)) for n in range(12)}, "max_sets": 2},
        {"parameters": {"augment": [{"shift": 1}, {"shift": 2}], "augment.shift": [3]}},
        [{"train": "head", "epochs": 1}], [{"train": "all", "epochs": "1e1"}], [{"train": "all"}] * 3,
    ]  # fmt: skip


values = st.one_of(
    # Made anew for each study, whose further changes may reach into them.
    st.sampled_from(range(len(odd()))).map(lambda place: odd()[place]),
    st.builds(holding_itself),
    st.sampled_from(KEYS),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        ),
        max_leaves=6,
    ),
)  # fmt: skip


def places(value: Any, depth: int = 8) -> list[tuple[Any, Any]]:
    """Every container of a study with each key or place in it, as deep as keys lie."""
    steps = list(value) if isinstance(value, dict) else range(len(value))
    found = [(value, step) for step in steps]
    for step in steps:
        if depth and isinstance(value[step], dict | list):
            found += places(value[step], depth - 1)
    return found


WORDS = sorted({at[step] for at, step in places(STUDIES) if isinstance(at[step], str)})


def alike(value: Any) -> st.SearchStrategy:
    """Values of the same kind, so that the schema may take them and the checks behind it be reached."""
    if isinstance(value, bool):
        return st.booleans()
    if isinstance(value, int):
        return st.sampled_from([1, 2, 3, 4, 5, 8, 24, 100, 1000, "1e1", "2", 0, 1.0])
    if isinstance(value, float):
        return st.sampled_from([0.1, 0.25, 0.5, 0.9, 1e-9, 1.0, "1e-3", 0, 2, 60.0, "nan"])
    if isinstance(value, str):
        return st.sampled_from([*WORDS, *METHODS, "rest", "heads", "exits", "all"])
    if isinstance(value, list):
        return st.permutations(value).map(lambda items: items[1:] or [*items, *items])
    found = [at[step] for at, step in places(STUDIES) if isinstance(at[step], dict)]
    return st.sampled_from(found).map(copy.deepcopy)


@st.composite
def mutated(draw) -> dict:
    """One of our studies with a few of its experiments, and one to three changes."""
    study = copy.deepcopy(STUDIES[draw(st.sampled_from(sorted(STUDIES)))])
    named = study["experiments"]
    kept = draw(st.lists(st.sampled_from(sorted(named)), min_size=1, max_size=3))
    for name in kept:  # and those that they name, as they are found
        kept += {named[name].get(key, name) for key in ("from", "baseline")}.difference(
            kept, ["base"]
        )
    study["experiments"] = {name: named[name] for name in kept}
    for _ in range(draw(st.integers(1, 3))):
        holder, step = draw(st.sampled_from(places(study)))
        change = draw(
            st.sampled_from(["alike"] * 6 + ["set", "drop", "rename", "add", "move", "wrap"])
        )
        if change == "alike":
            holder[step] = draw(alike(holder[step]))
        elif change == "set":
            holder[step] = draw(values)
        elif change == "drop":
            del holder[step]
        elif change == "wrap":
            holder[step] = draw(st.sampled_from([[holder[step]], {"of": holder[step]}]))
        elif change == "move":
            other, place = draw(st.sampled_from(places(study)))
            holder[step] = other[place]  # an alias, as YAML has them
        elif isinstance(holder, list):
            holder.insert(step, holder[step])
        else:
            key = draw(
                st.sampled_from(KEYS) | st.text(max_size=9) | st.sampled_from(["a\n", None, 1])
            )
            holder[key] = draw(values) if change == "add" else holder.pop(step)
        if not places(study):
            break
    return study


def check_told(error: FrugalError) -> None:
    told = str(error)
    assert told.isprintable()
    assert len(told) <= LONGEST
    assert ": " in told


def finite(value: Any) -> bool:
    if isinstance(value, dict | list | tuple):
        return all(map(finite, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, float) or math.isfinite(value)


@examples(2000)
@given(mutated())
def test_a_mutated_study_is_a_study_or_one_line(config):
    try:
        study = load_study(config)
    except FrugalError as error:
        check_told(error)
    else:
        assert isinstance(study, Study)
        assert 0 < len(study.runs) <= MOST_RUNS
        assert finite(study.config)
        assert all(finite(run.settings) for run in study.runs.values())


@examples(150)
@given(st.sampled_from(sorted(STUDIES)), st.dictionaries(st.sampled_from(KEYS), values, max_size=2))
def test_overrides_of_the_command_line_are_taken_or_one_line(name, overrides):
    try:
        load_study(merge(STUDIES[name], retype(overrides)))
    except FrugalError as error:
        check_told(error)


BYTES = st.sampled_from(
    [b"\n", b"  ", b"\t", b": ", b"- ", b"? ", b"[", b"]", b"{", b"}", b"&a ", b"*a", b"<<: *a",
     b"!!int ", b"!!float ", b"!!set ", b"!!python/name:os.system ", b"| ", b"> ", b"'", b'"', b"#",
     b"%", b"@", b"---\n", b"\0", b"\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"2026-13-45", b"0x", b"1e400",
     b".nan", b"\\ud800", b"\xc3", b"1:99:99", b"= ", b"~"]
) | st.binary(max_size=4)  # fmt: skip


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("studies") / "study.yaml"


@examples(400)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 9), BYTES), min_size=1, max_size=5))
def test_a_mutated_file_is_a_block_of_keys_or_one_line(file, changes):
    content = (ROOT / "tests" / "studies" / "tiny.yaml").read_bytes()
    for where, dropped, added in changes:
        place = int(where * len(content))
        content = content[:place] + added + content[place + dropped :]
    file.write_bytes(content)
    try:
        assert isinstance(read_yaml(file), dict)
    except ConfigError as error:
        check_told(error)


@examples(400)
@given(
    st.sampled_from(sorted(NUMBERS, key=key_path)),
    st.floats() | st.integers(-3, 300) | st.floats(0, 1),
    st.sampled_from(["{}", "{:e}", "{:E}", "{:g}"]),
)
def test_a_text_is_taken_as_its_number_or_refused_with_it(steps, number, form):
    text = form.format(number)
    known: float = float(text) if isinstance(number, float) or "e" in text.lower() else int(text)
    if "number" not in NUMBERS[steps]["type"] and math.isfinite(known) and known == int(known):
        known = int(known)
    taken = [outcome(study_with(steps, value)) for value in (text, known)]
    assert taken[0] == taken[1]


def outcome(study: dict) -> Any:
    """The validated study, or nothing where it is refused."""
    try:
        return validate(study)
    except ConfigError as error:
        check_told(error)
        return None
