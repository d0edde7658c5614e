"""JPEG's scans are counted before it is decoded: a scan of 100 bytes may cost a pass over all pixels."""

import re
from typing import BinaryIO

from frugalvit.errors import DataError

MAX_SCANS = 100  # of a picture; encoders write about ten
_SOS, _EOI = 0xDA, 0xD9
_BARE = frozenset((0x01, *range(0xD0, 0xD9)))  # markers without a length: TEM, RSTn, SOI
_NEXT_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")  # no stuffed byte, fill byte or restart


def refuse_many_scans(file: BinaryIO) -> None:
    """Raise where the first picture of a JPEG has more than `MAX_SCANS`; keep the file's position.

    Raises:
        DataError: one line with the number.
    """
    position = file.tell()
    file.seek(0)
    content = file.read()
    file.seek(position)
    # The bytes of a marker may stand in metadata or behind the picture too, so that few are enough.
    if content.count(bytes((0xFF, _SOS))) > MAX_SCANS and (scans := _scans(content)) > MAX_SCANS:
        raise DataError(
            f"{scans} scans, more than {MAX_SCANS}, which no encoder writes: save the image anew"
        )


def _scans(content: bytes) -> int:
    scans, at = 0, 0
    while found := _NEXT_MARKER.search(content, at):
        marker, at = found[1][0], found.end()
        if marker == _EOI:
            break
        scans += marker == _SOS
        if marker not in _BARE:
            at += int.from_bytes(content[at : at + 2], "big")
    return scans
