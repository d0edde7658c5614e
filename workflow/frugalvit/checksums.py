"""Checksums of what a job wrote, noted beside it and compared when another job reads it.

A file's date tells whether it was made anew, not whether its bytes are still those that were written.
Weights, arrays and what is made with them are noted in a card or a report; every table that a job
writes has a note of its own, for jobs of several rules write into one folder, perhaps at once.
"""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from frugalvit.errors import DataError, FrugalError
from frugalvit.files import atomic_path, read_json, sha256_file

NOTES = ("card.json", "report.json")  # what may lie beside a file and note its checksum
KEY = "files_sha256"  # in there: file name -> SHA-256
WEIGHTS = "weights.safetensors"  # whose checksum a card has under a key of its own
WEIGHTS_KEY = "weights_sha256"
TABLES = (".csv", ".json")  # files with a note of their own
FOLDER = ".checksums"  # beside them, of these notes; `sha256sum -c .checksums/*` reads them too


def note(*paths: str | Path) -> dict[str, dict[str, str]]:
    """What a card or a report is to say of these files of its folder."""
    return {KEY: {path.name: sha256_file(path) for path in map(Path, paths)}}


def note_tables(paths: Iterable[str | Path]) -> None:
    """Note the checksum of each table among these files.

    Raises:
        StorageError: a note cannot be written.
    """
    for path in map(Path, paths):
        if path.suffix in TABLES:
            with atomic_path(_note_of(path)) as temporary:
                temporary.write_text(f"{sha256_file(path)}  {path.name}\n", encoding="utf-8")


def check_tables(paths: Iterable[str | Path]) -> None:
    """Compare each table among these files with its noted checksum.

    Raises:
        DataError: one is not as it was written.
    """
    for path in map(Path, paths):
        if path.suffix in TABLES:
            check_noted(path)


def _note_of(path: Path) -> Path:
    return path.parent / FOLDER / f"{path.name}.sha256"


def noted(path: str | Path) -> tuple[str, str] | None:
    """The SHA-256 that was noted of a file, and the name of the file that says so.

    None where nothing is noted, as by an older version.

    Raises:
        DataError: what lies beside it is no JSON.
    """
    path = Path(path)
    for name in NOTES:
        beside = path.with_name(name)
        told = read_json(beside) if beside.is_file() else None
        if not isinstance(told, dict):
            continue
        files = told.get(KEY)
        written = files.get(path.name) if isinstance(files, dict) else None
        if written is None and path.name == WEIGHTS:
            written = told.get(WEIGHTS_KEY)
        if isinstance(written, str):
            return written, name
    note = _note_of(path)
    if note.is_file():
        words = note.read_text(encoding="utf-8", errors="replace").split()
        return words[0] if words else "", f"{FOLDER}/{note.name}"
    return None


def check_noted(path: str | Path, kind: type[FrugalError] = DataError) -> None:
    """Compare a file with its noted checksum; a process reads a file once, however often it asks.

    Raises:
        FrugalError: of the given kind, where the bytes are not those that were written.
    """
    path = Path(path)
    written = noted(path)
    if written is None or not path.is_file():
        return
    state = path.stat()
    # Nothing can set the last of them back, unlike a file's date.
    found = _sha256(path, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
    if found != written[0].lower():
        raise kind(
            f"{path}: its bytes are not those that were written (SHA-256 {found[:12]}…, "
            f"{written[1]} beside it says {written[0][:12]}…): damaged or edited; delete it and run "
            "again"
        )


@cache
def _sha256(path: Path, *_state: int) -> str:
    return sha256_file(path)
