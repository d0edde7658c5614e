"""Weights files changed at random: each is read, or refused in one line."""

import io
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save as to_safetensors

from frugalvit.errors import FrugalError
from frugalvit.models.backbone import build
from frugalvit.models.weights.load import load_file, random
from tests.memory import at_most
from tests.properties import examples

ARCHITECTURE = {
    "image_size": 16,
    "patch_size": 8,
    "num_layers": 2,
    "num_heads": 2,
    "hidden_dim": 16,
    "mlp_dim": 24,
}
STATE = random(ARCHITECTURE)
MOST_MEMORY = 400_000  # kB that no example may add; a file has 20
LONGEST = 1000  # characters of a line, a long file name and three names among them


def pickled(state, **options):
    buffer = io.BytesIO()
    torch.save(state, buffer, **options)
    return buffer.getvalue()


FILES = {
    "safetensors": to_safetensors(STATE),
    "zip": pickled({"epoch": 3, "model": STATE}),
    "legacy": pickled(STATE, _use_new_zipfile_serialization=False),
}
# Strings that mean something to one of the formats.
WORDS = [
    *(
        b'"F32"',
        b'"F64"',
        b'"BF16"',
        b'"shape":[',
        b"0",
        b"9" * 20,
        b"-1",
        b"1e9",
        b"null",
        b"{",
        b"[",
    ),
    *(b"encoder_layer_0", b"encoder_layer_1", b"class_token", b"\x00\x0a", b"\\n", b"\xff", b"PK"),
    *(b".", b"R", b"c__builtin__\neval\n", b"\x8a\xff", b"J\xff\xff\xff\x7f", b"("),
]


@st.composite
def changed(draw, content):
    """`content` after one to four changes: bytes put in, taken out, overwritten, or cut off."""
    content = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        # Half of them where the formats keep what they claim: headers, directories.
        near = draw(st.sampled_from([64, 1500, len(content)]))
        at = draw(st.integers(0, min(near, len(content))))
        at = at if draw(st.booleans()) else len(content) - at
        length = draw(st.integers(0, 40))
        put = draw(st.one_of(st.binary(max_size=20), st.sampled_from(WORDS)))
        kind = draw(st.sampled_from(["insert", "delete", "overwrite", "cut"]))
        if kind == "insert":
            content[at:at] = put
        elif kind == "delete":
            del content[at : at + length]
        elif kind == "overwrite":
            content[at : at + len(put)] = put
        else:
            del content[at:]
    return bytes(content)


def read(path, content, **changes):
    """Reads the file as a study would; what is wrong is one line, and little memory is used."""
    path.write_bytes(content)
    try:
        with at_most(MOST_MEMORY):
            state, architecture, _ = load_file(
                path, **{"image_size": 16, "num_heads": 2, **changes}
            )
    except FrugalError as error:
        line = str(error)
        assert line.isprintable()
        assert len(line) < LONGEST
        assert line.startswith(str(path))
    else:
        build(architecture, 0).load_state_dict(state)
        assert all(bool(tensor.isfinite().all()) for tensor in state.values())


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("changed") / "weights.bin"


@pytest.mark.parametrize("kind", FILES)
def test_unchanged_files_are_read(path, kind):
    path.write_bytes(FILES[kind])
    state, _, _ = load_file(path, image_size=16, num_heads=2)
    assert all(torch.equal(state[name], STATE[name]) for name in STATE)


@examples(60)
@given(data=st.data())
@pytest.mark.parametrize("kind", FILES)
def test_changed_bytes(path, kind, data):
    read(path, data.draw(changed(FILES[kind])))


@examples(60)
@given(data=st.data())
def test_changed_headers_of_safetensors(path, data):
    """The length before the header is right, so that its content is what is read."""
    content = FILES["safetensors"]
    length = int.from_bytes(content[:8], "little")
    header = data.draw(changed(content[8 : 8 + length]))
    read(path, len(header).to_bytes(8, "little") + header + content[8 + length :])


@examples(60)
@given(data=st.data())
def test_changed_pickles_in_a_zip_file_that_is_whole(path, data):
    """Checksums are made anew, so that they hide nothing."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(FILES["zip"])) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, data.draw(changed(content)) if "pkl" in name else content)
    read(path, buffer.getvalue())


SHAPES = st.lists(st.integers(0, 20), max_size=4)
TYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.bool]


@examples(60)
@given(
    names=st.lists(st.sampled_from(sorted(STATE)), min_size=1, max_size=3),
    shapes=st.lists(SHAPES, min_size=3, max_size=3),
    dtype=st.sampled_from(TYPES),
    renamed=st.one_of(st.none(), st.text(max_size=30)),
    image_size=st.integers(1, 64),
    num_heads=st.one_of(st.none(), st.integers(1, 20)),
)
def test_tensors_of_other_shapes_types_and_names(
    path, names, shapes, dtype, renamed, image_size, num_heads
):
    state = dict(STATE)
    for name, shape in zip(names, shapes):
        state[name] = torch.from_numpy(np.zeros(shape, dtype=np.float32)).to(dtype)
    if renamed is not None:
        state[renamed] = state.pop(names[0])
    read(path, pickled(state), image_size=image_size, num_heads=num_heads)
