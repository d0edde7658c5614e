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
from dataclasses import dataclass, field
from lzma import LZMAError
from pathlib import Path, PurePosixPath

from frugalvit.errors import DataError
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


class _StrictTarInfo(tarfile.TarInfo):
    """tarfile takes a header that is cut, damaged or absent for the archive's end; we do not."""

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
    links: set[PurePosixPath] = field(default_factory=set)

    def refuse(self, name: str, reason: str) -> DataError:
        return DataError(f"{self.archive}: member {name!r} {reason}; the archive was not unpacked")

    def admit(self, name: str, size: int) -> PurePosixPath:
        """Check a member's name and size; returns its path inside the folder."""
        self.members += 1
        self.size += size
        if self.members > MAX_MEMBERS:
            raise self.refuse(name, f"is one of more than {MAX_MEMBERS}")
        if self.size > self.limit:
            raise self.refuse(name, f"takes the content past {self.limit} bytes, a bomb's growth")
        path = self._inside(name, name)
        if any(parent in self.links for parent in (path, *path.parents)):
            raise self.refuse(name, "would be written through a link")
        return path

    def admit_link(self, name: str, path: PurePosixPath, target: str, base: PurePosixPath) -> None:
        """Check where a link leads: `target` seen from `base`."""
        if _is_absolute(target):
            raise self.refuse(name, f"is a link to the absolute path {target!r}")
        destination = self._inside(
            name, str(base / target.replace("\\", "/")), f"links to {target!r}"
        )
        if any(parent in self.links for parent in (destination, *destination.parents)):
            raise self.refuse(name, f"is a link through another link, {target!r}")
        self.links.add(path)

    def _inside(self, name: str, path: str, what: str = "has a path") -> PurePosixPath:
        if _is_absolute(path):
            raise self.refuse(name, f"{what} that is absolute")
        parts: list[str] = []
        for part in path.replace("\\", "/").split("/"):
            if part == "..":
                if not parts or what == "has a path":
                    raise self.refuse(name, f"{what} that leaves the folder")
                parts.pop()
            elif part not in {"", "."}:
                parts.append(part)
        return PurePosixPath(*parts)


def extract_archive(path: str | Path, folder: str | Path) -> Path:
    """Unpack a tar (plain, gz, bz2, xz) or zip into `folder`, replacing it, whole or not at all.

    Refuses absolute paths, `..`, links that leave the folder or that another member is written
    through, devices, sparse files, and contents out of proportion to the archive's size.

    Raises:
        DataError: one line that names the archive, the member and the reason.
    """
    path, folder = Path(path), Path(folder)
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
        except _BROKEN as error:
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
    if zipfile.is_zipfile(path) and not tarfile.is_tarfile(path):
        with zipfile.ZipFile(path) as zipped:
            for info in zipped.infolist():
                _check_zip_member(info, guard)
            for info in zipped.infolist():
                zipped.extract(info, folder)
        return
    try:
        archive = tarfile.open(path, tarinfo=_StrictTarInfo)  # noqa: SIM115
    except tarfile.ReadError as error:
        raise DataError(
            f"{path}: neither a tar nor a zip archive, or cut short; get it anew"
        ) from error
    with archive:
        for member in _tar_members(archive, guard):
            archive.extract(member, folder, filter="data")


def _tar_members(archive: tarfile.TarFile, guard: _Guard) -> Iterator[tarfile.TarInfo]:
    for member in archive:
        name = member.name
        if member.issparse():
            raise guard.refuse(name, "is a sparse file")
        if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
            raise guard.refuse(name, "is a device or pipe")
        inside = guard.admit(name, member.size)
        if member.issym():
            guard.admit_link(name, inside, member.linkname, inside.parent)
        elif member.islnk():
            guard.admit_link(name, inside, member.linkname, PurePosixPath())
        yield member
    # The rest is padding, but only at the end does a compressed stream check its own sum.
    rest = 0
    while block := archive.fileobj.read(1 << 20):
        rest += len(block)
        if rest > guard.limit:
            raise guard.refuse("the padding", "is longer than any archive needs")


def _check_zip_member(member: zipfile.ZipInfo, guard: _Guard) -> None:
    mode = member.external_attr >> 16
    if stat.S_IFMT(mode) not in {0, stat.S_IFREG, stat.S_IFDIR}:
        kind = "link" if stat.S_ISLNK(mode) else "device or pipe"
        raise guard.refuse(member.filename, f"is a {kind}")
    if member.flag_bits & 0x1:
        raise guard.refuse(member.filename, "is encrypted")
    guard.admit(member.filename, member.file_size)


def _is_absolute(path: str) -> bool:
    return path.startswith(("/", "\\")) or re.match(r"[A-Za-z]:[\\/]", path) is not None
