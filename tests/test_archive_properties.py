"""Whatever an archive holds: a folder that is whole, or one line; nothing outside the folder changes."""

import io
import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from frugalvit.data.archives import extract_archive
from frugalvit.errors import DataError
from tests.properties import examples

PARTS = st.sampled_from(
    ["a", "b", "..", ".", "", "c d", "caf\u00e9", "x" * 300, "C:", "\\", "n\nl"]
)
NAMES = st.builds(
    lambda parts, joint, lead: lead + joint.join(parts),
    st.lists(PARTS, min_size=1, max_size=4),
    st.sampled_from(["/", "\\"]),
    st.sampled_from(["", "", "/", "./", "../"]),
)
KINDS = st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE,
                         tarfile.FIFOTYPE, tarfile.CHRTYPE])  # fmt: skip
MEMBERS = st.lists(st.tuples(NAMES, KINDS, NAMES, st.binary(max_size=40)), min_size=1, max_size=6)


def tar_of(members) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, kind, link, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            info.size = len(content) if kind == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(content))
    return target.getvalue()


def zip_of(members) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, _, _, content in members:
            info = zipfile.ZipInfo("x")
            info.filename = info.orig_filename = name
            archive.writestr(info, content)
    return target.getvalue()


def tried(content: bytes) -> None:
    """Unpack, and look at everything around."""
    folder = Path(tempfile.mkdtemp())
    try:
        archive, beside = folder / "in" / "a.bin", folder / "beside"
        archive.parent.mkdir()
        archive.write_bytes(content)
        beside.write_text("mine")
        state = beside.stat()
        out = folder / "out" / "data"
        try:
            extract_archive(archive, out)
        except DataError as error:
            assert "\n" not in str(error)
            assert not out.exists()
        else:
            assert out.is_dir()
            assert not any(path.is_symlink() for path in out.rglob("*"))
        after = beside.stat()
        assert (after.st_mode, after.st_mtime_ns, after.st_nlink, beside.read_text()) == (
            state.st_mode, state.st_mtime_ns, state.st_nlink, "mine",
        )  # fmt: skip
        assert {path.name for path in folder.iterdir()} == {"in", "out", "beside"}
        assert {path.name for path in (folder / "out").iterdir()} <= {"data"}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@examples(250)
@given(MEMBERS)
def test_members_of_any_name_and_kind(members):
    tried(tar_of(members))


@examples(250)
@given(MEMBERS)
def test_zip_members_of_any_name(members):
    tried(zip_of(members))


@examples(250)
@given(
    st.sampled_from(["tar", "zip"]),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8),
    st.floats(0, 1),
)
def test_damaged_archives(kind, flips, kept):
    whole = [("a/one", tarfile.REGTYPE, "", b"1" * 30), ("b/two", tarfile.REGTYPE, "", b"2" * 30)]
    content = bytearray(tar_of(whole) if kind == "tar" else zip_of(whole))
    for place, value in flips:
        content[int(place * (len(content) - 1))] = value
    tried(bytes(content[: max(1, int(kept * len(content)))] if kept < 0.5 else content))
