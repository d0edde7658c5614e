"""Files that are no study: one line that names the file, where it can the line, and the remedy."""

import os
import subprocess
import sys

import pytest

from frugalvit.config import reading
from frugalvit.config.reading import MOST_ENTRIES, check_extent, read_yaml, retype
from frugalvit.config.study import load_study
from frugalvit.errors import ConfigError
from tests.workflows import ROOT

LAUGHS = "a: &a0 [x, x]\n" + "".join(f"k{n}: &a{n + 1} [{f'*a{n}, ' * 9}]\n" for n in range(12))
MERGED = "a: &a0 {x: 1}\n" + "".join(
    f"k{n}: &a{n + 1} {{<<: [{f'*a{n}, ' * 9}]}}\n" for n in range(12)
)
LATIN = "# Löwenzahn\nstudy: a\n".encode("latin-1")
UTF_16 = "study: größe\n".encode("utf-16")

FILES = {
    "a list as key": (b"study: a\n? [1, 2]\n: x\n", "line 2: a list or a block stands where a key"),
    "a block as key": (b"{a: 1}: x\n", "line 1: a list or a block stands where a key does"),
    "no such date": (b"a: 1\nb: 2026-13-45\n", "line 2: '2026-13-45' is not a date; correct it, or"),
    "a float that is none": (b"lr: !!float abc\n", "line 1: 'abc' is not a number; correct it"),
    "an empty whole number": (b"lr: !!int ''\n", "line 1: '' is not a whole number"),
    "a timestamp of words": (b"lr: !!timestamp soon\n", "line 1: 'soon' is not a date"),
    "a bool of words": (b"lr: !!bool perhaps\n", "line 1: 'perhaps' is not true or false"),
    "digits without end": (b"a: " + b"9" * 5000, "line 1: '999"),
    "hexadecimal without end": (b"a: 0x" + b"f" * 5000, "a: a int too large to show has more than 64"),
    "UTF-16": (UTF_16, "study.yaml, line 1: not UTF-8; save the file as UTF-8"),
    "UTF-16 without its mark": (UTF_16[2:].replace(b"\xf6", b"o").replace(b"\xdf", b"s"),
                                "study.yaml: not UTF-8, perhaps UTF-16; save the file as UTF-8"),
    "Latin-1": (LATIN, "study.yaml, line 1: not UTF-8; save the file as UTF-8"),
    "a control character": (b"a: \x07", "not valid YAML (special characters are not allowed)"),
    "lists in lists": (b"a: " + b"[" * 5000, "more than 50 blocks and lists inside each other"),
    "closed lists in lists": (b"a: " + b"[" * 90 + b"]" * 90, "more than 50 blocks and lists inside"),
    "blocks in blocks": (b"".join(b" " * n + b"a:\n" for n in range(900)), "more than 50 blocks"),
    "a list that holds itself": (b"a: &a [*a]\n", "more than 50 blocks and lists inside each other"),
    "a billion laughs": (LAUGHS.encode(), "more than 50,000 entries, counted with aliases written out"),
    "a billion merges": (MERGED.encode(), "more than 50,000 entries, counted with aliases written out"),
    "a large file": (b"# " + b"x" * 1_000_001, "larger than 1 MB; a study is a few kilobytes"),
    "Python's objects": (b"a: !!python/object/apply:os.getcwd []\n", "line 1: not valid YAML (could"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_yaml_or_python_stumbles_over_is_one_line(tmp_path, name):
    content, message = FILES[name]
    path = tmp_path / "study.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_yaml(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith((str(path), "a: "))
    assert len(str(caught.value)) < 400


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ConfigError, match=r"Is a directory; check --configfile"):
        read_yaml(tmp_path)


def test_a_file_of_a_windows_editor_in_utf_8_is_read(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_bytes(b"\xef\xbb\xbfstudy: a\r\ndataset: {name: gr\xc3\xbc\xc3\x9fe}\r\n")
    assert read_yaml(path) == {"study": "a", "dataset": {"name": "grüße"}}


def test_aliases_and_merged_keys_of_a_usual_study_are_read(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text("a: &a {x: 1, y: [1, 2]}\nb: {<<: *a, x: 2}\nc: [*a, *a]\n")
    base = {"x": 1, "y": [1, 2]}
    assert read_yaml(path) == {"a": base, "b": base | {"x": 2}, "c": [base, base]}


def itself():
    holds = {"training": {}}
    holds["training"]["augment"] = holds
    return holds


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("study", "message"),
    [
        ({"training": {"lr": nested(3000)}}, "the study: more than 50 blocks and lists"),
        (itself(), "the study: more than 50 blocks and lists"),
        ({"seeds": list(range(MOST_ENTRIES))}, "the study: more than 50,000 entries"),
        (
            {"training": {"lr": 10**5000}},
            "training.lr: a int too large to show has more than 64 bits",
        ),
        ({"seeds": [0, 2**63]}, "seeds[1]: 9223372036854775808 has more than 64 bits; at most 922"),
        ({10**5000: 1}, "[a int too large to show]: a int too large to show has more than 64 bits"),
    ],
)
def test_a_study_that_did_not_come_from_a_file_is_bounded_too(study, message):
    with pytest.raises(ConfigError) as caught:
        load_study(study)
    assert str(caught.value).startswith(message)


def test_overrides_are_bounded_and_text_that_is_no_yaml_stays():
    with pytest.raises(ConfigError, match=r"--config: more than 50 blocks"):
        retype({"training": nested(3000)})
    odd = ["[" * 3000, "2026-13-45", "a: [1", "!!float x", "{[1]: 2}", "9" * 5000]
    assert retype(odd) == odd


def test_an_extent_counts_what_aliases_write_out():
    shared = [1] * 100
    check_extent({"a": [shared] * 10}, "it")
    with pytest.raises(ConfigError, match="it: more than 50,000 entries"):
        check_extent({"a": [[shared] * 100] * 10}, "it")


def test_make_names_a_file_that_snakemake_could_not_read(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_bytes(UTF_16)
    command = [sys.executable, "-m", reading.__name__]
    library = os.environ | {"PYTHONPATH": str(ROOT / "workflow")}
    ended = [
        subprocess.run([*command, file], capture_output=True, text=True, env=library, check=False)
        for file in (ROOT / "config" / "config.yaml", path)
    ]
    assert (ended[0].returncode, ended[0].stderr) == (0, "")
    assert ended[1].returncode == 1
    told = f"error in the configuration: {path}, line 1: not UTF-8; save the file as UTF-8\n"
    assert ended[1].stderr == told
    assert (ROOT / "Makefile").read_text().count("\t@$(READABLE)\n") == 4
