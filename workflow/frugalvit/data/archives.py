"""Archives are unpacked without trusting them: nothing leaves the folder, nothing explodes."""

import glob
import logging
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path

from frugalvit.errors import DataError, StorageError, storage_problem
from frugalvit.jobs.lock import exclusive

log = logging.getLogger(__name__)

MAX_MEMBERS = 5_000_000
# Images barely compress: an archive that grows a hundredfold is a bomb, not a dataset.
MAX_GROWTH = 100
ALWAYS_ALLOWED = 1 << 30  # bytes; small archives of flat drawings may grow more
_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    LZMAError,
    EOFError,
    OSError,
    RuntimeError,  # zipfile: encrypted
    NotImplementedError,  # zipfile: unknown compression
    ValueError,
)


# By name: typeshed's tarfile lacks them.
_BROKEN_HEADERS: tuple[type[tarfile.HeaderError], ...] = tuple(
    getattr(tarfile, name)
    for name in ("TruncatedHeaderError", "InvalidHeaderError", "EmptyHeaderError")
)
# Members that tarfile reads whole into memory: long names, and tables of names and values.
_READ_WHOLE = {
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
}
LONGEST_HEADER = 1 << 20  # bytes
_NOT_READ = {
    b"Rar!\x1a\x07": "a RAR archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"\x28\xb5\x2f\xfd": "compressed by Zstandard",
}


class _LongHeaderError(Exception):
    """A header beyond any honest one's size. No TarError, of which tarfile swallows some."""


class _StrictTarInfo(tarfile.TarInfo):
    """tarfile takes a header that is cut, damaged or absent for the archive's end; we do not."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_StrictTarInfo":
        header = super().frombuf(buf, encoding, errors)
        if header.type in _READ_WHOLE and header.size > LONGEST_HEADER:
            raise _LongHeaderError
        return header

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> "_StrictTarInfo":
        try:
            return super().fromtarfile(tarfile_)
        except _BROKEN_HEADERS as error:
            raise tarfile.ReadError(str(error)) from error


@dataclass
class _Guard:
    """What one archive may contain, checked member by member."""

    archive: Path
    limit: int
    members: int = 0
    size: int = 0

    def refuse(self, name: str, reason: str) -> DataError:
        return DataError(f"{self.archive}: member {name!r} {reason}; the archive was not unpacked")

    def admit(self, name: str, size: int) -> None:
        """Check a member's name and size.

        A plain name below the folder stays in it, for no link is ever made there.
        """
        self.members += 1
        self.size += size
        if self.members > MAX_MEMBERS:
            raise self.refuse(name, f"is one of more than {MAX_MEMBERS}")
        if size < 0:
            raise self.refuse(name, "has a negative size")
        if self.size > self.limit:
            raise self.refuse(name, f"takes the content past {self.limit} bytes, a bomb's growth")
        if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:[\\/]", name):
            raise self.refuse(name, "has a path that is absolute")
        parts = name.replace("\\", "/").split("/")
        if ".." in parts:
            raise self.refuse(name, "has a path that leaves the folder")
        if "\0" in name:
            raise self.refuse(name, "has a name that no file can have")

    def refuse_link(self, name: str, remedy: str) -> DataError:
        """Links could lead out of the folder, one over another, and images need none."""
        return self.refuse(name, f"is a link, and links are not unpacked: {remedy}")


def extract_archive(path: str | Path, folder: str | Path) -> Path:
    """Unpack a tar (plain, gz, bz2, xz) or zip into `folder`, replacing it, whole or not at all.

    Refuses absolute paths, `..`, links of any kind, devices, sparse files, and contents or headers
    out of proportion to the archive's size. Members' dates and owners are not kept.

    Raises:
        DataError: one line that names the archive, the member and the reason.
    """
    path, folder = Path(path), Path(folder).absolute()
    if not path.is_file():
        raise DataError(f"{path}: no such archive")
    folder.parent.mkdir(parents=True, exist_ok=True)
    guard = _Guard(path, max(ALWAYS_ALLOWED, MAX_GROWTH * path.stat().st_size))
    with exclusive(folder.with_name(f".{folder.name}.lock"), str(folder)):
        for abandoned in folder.parent.glob(f".{glob.escape(folder.name)}.*.unpacking"):
            shutil.rmtree(abandoned)
        _unpack_whole(path, folder, guard)
    log.info("%s: %d members unpacked into %s", path, guard.members, folder)
    return folder


def _unpack_whole(path: Path, folder: Path, guard: _Guard) -> None:
    temporary = Path(
        tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".unpacking", dir=folder.parent)
    )
    try:
        try:
            _unpack(path, temporary, guard)
        except _LongHeaderError:
            raise DataError(
                f"{path}: has a header of more than {LONGEST_HEADER} bytes, as no honest archive has; "
                "the archive was not unpacked"
            ) from None
        except _BROKEN as error:
            if problem := storage_problem(error):
                raise StorageError(
                    f"{folder}: {path} cannot be unpacked: {problem} and run again"
                ) from error
            if isinstance(error, OSError) and error.errno:
                raise DataError(f"{path}: cannot be unpacked into {folder} ({error})") from error
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataError(
                f"{path}: broken or truncated archive ({reason}); get it anew"
            ) from error
        temporary.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _unpack(path: Path, folder: Path, guard: _Guard) -> None:
    try:
        archive = tarfile.open(path, tarinfo=_StrictTarInfo)  # noqa: SIM115
    except tarfile.ReadError as error:
        if zipfile.is_zipfile(path):
            _unpack_zip(path, folder, guard)
            return
        raise DataError(f"{path}: {_what_it_is(path)}") from error
    with archive:
        for member in _tar_members(archive, guard):
            archive.extract(member, folder, filter="data")


def _what_it_is(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(8)
    for magic, kind in _NOT_READ.items():
        if start.startswith(magic):
            return (
                f"{kind}, which is not read; unpack it and give the folder (source: folder), or pack "
                "it as zip or tar.gz"
            )
    return "neither a tar nor a zip archive, or cut short; get it anew"


def _tar_members(archive: tarfile.TarFile, guard: _Guard) -> Iterator[tarfile.TarInfo]:
    for member in archive:
        name = member.name
        if member.issparse():
            raise guard.refuse(name, "is a sparse file")
        if member.issym() or member.islnk():
            raise guard.refuse_link(
                name, "pack the files themselves with tar --dereference --hard-dereference"
            )
        if not (member.isfile() or member.isdir()):
            raise guard.refuse(name, "is a device or pipe")
        guard.admit(name, member.size)
        # A date that no file can have would end the extraction, and none is needed.
        yield member.replace(mtime=None, deep=False)  # type: ignore[arg-type]
    # The rest is padding, but only at the end does a compressed stream check its own sum.
    rest = 0
    while block := archive.fileobj.read(1 << 20):
        rest += len(block)
        if rest > guard.limit:
            raise guard.refuse("the padding", "is longer than any archive needs")


def _unpack_zip(path: Path, folder: Path, guard: _Guard) -> None:
    with zipfile.ZipFile(path) as zipped:
        members = zipped.infolist()
        for member in members:
            member.filename = _zip_name(member)
            _check_zip_member(member, guard)
        for member in members:
            zipped.extract(member, folder)


def _zip_name(member: zipfile.ZipInfo) -> str:
    """A member's name with `/` between folders (Windows' own packer writes `\\`), in UTF-8 if it can be.

    Without the flag that says so, names are read as the DOS encoding cp437, but many write UTF-8.
    """
    name = member.filename
    if not member.flag_bits & 0x800:
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/")


def _check_zip_member(member: zipfile.ZipInfo, guard: _Guard) -> None:
    name = member.filename
    if not name:
        raise guard.refuse(name, "has no name")
    mode = member.external_attr >> 16
    if stat.S_ISLNK(mode):
        raise guard.refuse_link(name, "pack the files themselves")
    if stat.S_IFMT(mode) not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise guard.refuse(name, "is a device or pipe")
    if member.flag_bits & 0x1:
        raise guard.refuse(name, "is encrypted; pack it without a password")
    guard.admit(name, member.file_size)
