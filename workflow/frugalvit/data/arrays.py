"""Images are decoded in parallel and written straight to their place in a `.npy` file."""

import hashlib
import logging
import math
import multiprocessing
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import numpy as np

from frugalvit.data.decode import Decoded, box_in_square, decode_array, decode_image
from frugalvit.data.items import Box, Item
from frugalvit.data.tones import Stretch
from frugalvit.errors import DataError
from frugalvit.files import writing
from frugalvit.jobs.parent import end_with_parent
from frugalvit.jobs.progress import Progress

log = logging.getLogger(__name__)

CHUNK = 32  # images a task: long enough to hide the hand-over, short enough to keep cores even
_BLOCK = 256  # images copied at once
_STRETCHED = 1.05  # of sides that were rounded when an image was made smaller


@dataclass(frozen=True)
class Square:
    """How images are cut for the store (px), and which shares of their range become black and white."""

    resize: int
    crop: int
    max_pixels: int
    stretch: Stretch | None = None

    def decode(self, file: BufferedReader) -> Decoded:
        """The square of an image file, see `data.decode.decode_image`."""
        return decode_image(file, self.resize, self.crop, self.max_pixels, self.stretch)


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """An image file, to be read.

    Raises:
        DataError: the system does not let it be read.
    """
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}") from error


@contextmanager
def decoders(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that decode images.

    Raises:
        DataError: one was killed, most often for memory.
    """
    # Spawned: torch's threads may be running here, and a fork would inherit their locks.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=end_with_parent) as pool:
        try:
            yield pool
        except BrokenProcessPool as error:
            raise DataError(
                "a decoding process was killed, most often for memory: lower dataset.max_pixels "
                "or give the rule fewer threads"
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one image: a checksum, a box and the ends of its tones, or an error."""

    sha256: str = ""
    box: Box | None = None
    error: str = ""
    low: float = 1.0
    high: float = 0.0


def create_array(path: Path, count: int, side: int) -> None:
    """Create a `.npy` file of zeros, uint8 `[count, side, side, 3]`, that takes no space yet."""
    create_file(path, (count, side, side, 3), np.dtype(np.uint8))


def create_file(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Create a `.npy` file of zeros that takes no space yet; returns where its values begin.

    To be written to, not mapped: a process that writes to a map of a full disk is ended by a signal.
    """
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        start = file.tell()
        file.truncate(start + math.prod(shape) * dtype.itemsize)
    return start


def reserve(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """As `create_file`, with its room on disk taken, so that it can be mapped and written to.

    Raises:
        StorageError: there is not so much room.
    """
    with writing(path):
        start = create_file(path, shape, dtype)
        if hasattr(os, "posix_fallocate"):  # macOS has none
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), start, max(1, path.stat().st_size - start))


def decode_into(
    arrays: dict[str, Path], items: Sequence[Item], square: Square, workers: int, label: str
) -> list[Outcome]:
    """Decode items into the rows of their split's array; a bad image gives an outcome, no error.

    Args:
        arrays: the created array of each split.
        items: images in the order of the rows, split after split.
        square: how to cut them.
        workers: processes.
        label: what the progress says.

    Returns:
        One outcome an item, in order.

    Raises:
        DataError: a worker was killed (most often for memory).
        OSError: an array cannot be written; the error names it.
    """
    outcomes: dict[int, list[Outcome]] = {}  # of each task, by its first item's position
    tasks = list(_tasks(arrays, items, square))
    # Pixels in memory are cheap to resize and dear to send to another process.
    on_disk = any(isinstance(item.image, Path) for item in items)
    parallel = on_disk and workers > 1 and len(tasks) > 1
    results = _parallel(tasks, min(workers, len(tasks))) if parallel else map(_decode_task, tasks)
    with Progress(label, len(items), "images") as progress:
        for position, found in results:
            outcomes[position] = found
            progress.advance(len(found))
    return [outcome for position in sorted(outcomes) for outcome in outcomes[position]]


def keep_rows(path: Path, keep: np.ndarray) -> None:
    """Close up an array, in place, to the rows where `keep` (bool `[n]`) is True."""
    source = np.load(path, mmap_mode="r")
    rows = np.flatnonzero(keep)
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(rows), *source.shape[1:])}
    with path.open("r+b") as file:
        # As long as before: numpy leaves room for any number of rows.
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(rows), _BLOCK):
            file.write(source[rows[start : start + _BLOCK]].tobytes())  # never past what it reads
        file.truncate()


@dataclass(frozen=True, slots=True)
class _Task:
    array: Path
    row: int  # of the first item, in the array
    position: int  # of the first item, among all items
    items: Sequence[Item]
    square: Square


def _tasks(arrays: dict[str, Path], items: Sequence[Item], square: Square) -> Iterator[_Task]:
    first = 0
    for split, array in arrays.items():
        count = sum(item.split == split for item in items)
        for row in range(0, count, CHUNK):
            position = first + row
            chunk = items[position : min(position + CHUNK, first + count)]
            yield _Task(array, row, position, chunk, square)
        first += count


def _parallel(tasks: Sequence[_Task], workers: int) -> Iterable[tuple[int, list[Outcome]]]:
    with decoders(workers) as pool:
        pending = set()
        for task in tasks:
            pending.add(pool.submit(_decode_task, task))
            if len(pending) >= 4 * workers:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)


def _decode_task(task: _Task) -> tuple[int, list[Outcome]]:
    """Decode one chunk and write its rows; plain writes, so that no worker maps the whole file."""
    outcomes = []
    try:
        with task.array.open("r+b") as file:
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file)
            file.seek(task.row * task.square.crop**2 * 3, os.SEEK_CUR)
            for item in task.items:
                try:
                    decoded, sha256 = _decode_item(item, task.square)
                except DataError as error:
                    outcomes.append(Outcome(error=str(error)))
                    file.seek(task.square.crop**2 * 3, os.SEEK_CUR)
                    continue
                file.write(np.ascontiguousarray(decoded.pixels).data)
                box = _moved_box(item, decoded, task.square)
                outcomes.append(Outcome(sha256, box, low=decoded.low, high=decoded.high))
    except OSError as error:
        # An error of writing names no file, and another array's writer would take it for its own.
        raise OSError(error.errno, error.strerror, str(task.array)) from error
    return task.position, outcomes


def _decode_item(item: Item, square: Square) -> tuple[Decoded, str]:
    if isinstance(item.image, Path):
        with opened(item.image) as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            decoded = square.decode(file)
        _check_shape(item, decoded)
        return decoded, sha256
    pixels = np.ascontiguousarray(item.image)
    sha256 = hashlib.sha256(pixels.tobytes()).hexdigest()
    return decode_array(pixels, square.resize, square.crop, square.stretch), sha256


def _check_shape(item: Item, decoded: Decoded) -> None:
    """A box drawn for an image of another shape, most often before it was turned, lies elsewhere."""
    width, height = item.size or (decoded.width, decoded.height)
    stretched = (width / height) / (decoded.width / decoded.height)
    if not 1 / _STRETCHED < stretched < _STRETCHED:
        raise DataError(
            f"is {decoded.width} x {decoded.height} px upright, but its boxes were drawn for "
            f"{width:g} x {height:g} px"
        )


def _moved_box(item: Item, decoded: Decoded, square: Square) -> Box | None:
    if item.box is None:
        return None
    return box_in_square(item.box, decoded.width, decoded.height, square.resize, square.crop)
