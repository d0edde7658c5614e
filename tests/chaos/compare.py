"""Two results folders, held against each other to the byte, times and devices aside."""

import re
from pathlib import Path

import pandas as pd

from frugalvit.checksums import TABLES, check_noted
from frugalvit.errors import DataError

# What a clock or the machine says, and no two runs have in common; every other column must agree.
MEASURED = {
    "seconds", "train_seconds", "latency_ms", "latency_p95_ms", "call_ms", "call_p95_ms", "calls",
    "images_per_s", "peak_memory_mb", "device", "spread", "busy_cores",
}  # fmt: skip
# Of answer.csv, what follows from measured times: what is left is compared, model by model.
ANSWERS = "answer.csv"
BY_TIME = {
    "plain_latency_ms", "plain_images_per_s", "ranked", "frontier", "meets", "status", "note", "said",
}  # fmt: skip
SUFFIXES = (".csv", ".safetensors", ".npy")
LEFT_OVER = re.compile(
    r"\..+\.[a-z0-9_]{8}(\.\w+)?|\..+\.(lock|unpacking)|\.tokens-.*|last\.ckpt|.+\.part"
)


def differences(reference: Path, broken: Path) -> list[str]:
    """What differs, a line each: a file that one folder lacks, columns, bytes, and what is left over."""
    found = []
    for suffix, files in files_of(reference).items():
        others = files_of(broken)[suffix]
        found += [f"{name}: only in {reference}" for name in sorted(files - others)]
        # A reference may be a clone that holds tables alone.
        found += [f"{name}: only in {broken}" for name in sorted(others - files) if files]
        for name in sorted(files & others):
            compare = table_differs if suffix == ".csv" else bytes_differ
            if difference := compare(reference / name, broken / name):
                found.append(f"{name}: {difference}")
    found += [str(error) for error in map(not_as_noted, tables_of(broken)) if error]
    return found + [f"{name}: left over" for name in left_over(broken)]


def tables_of(folder: Path) -> list[Path]:
    """Tables that jobs wrote."""
    return sorted(path for path in folder.rglob("*") if path.suffix in TABLES)


def not_as_noted(path: Path) -> DataError | None:
    """What is said of a table that has not the checksum which its job noted."""
    try:
        check_noted(path)
    except DataError as error:
        return error
    return None


def files_of(folder: Path) -> dict[str, set[str]]:
    """Suffix -> files that are compared."""
    return {
        suffix: {
            path.relative_to(folder).as_posix()
            for path in folder.rglob(f"*{suffix}")
            if not LEFT_OVER.fullmatch(path.name)
        }
        for suffix in SUFFIXES
    }


def left_over(folder: Path) -> list[str]:
    """What a finished study should not hold: temporary files, locks, checkpoints."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if LEFT_OVER.fullmatch(path.name)
    )


def table_differs(reference: Path, broken: Path) -> str:
    """How two CSV files differ as text, but for `MEASURED`; empty where they do not."""
    tables = [pd.read_csv(path, dtype=str, keep_default_na=False) for path in (reference, broken)]
    if reference.name == ANSWERS:
        tables = [table.sort_values("name", ignore_index=True) for table in tables]
    if list(tables[0].columns) != list(tables[1].columns) or len(tables[0]) != len(tables[1]):
        return "other columns or another number of rows"
    kept = [column for column in tables[0].columns if column not in MEASURED | BY_TIME]
    differing = [column for column in kept if not tables[0][column].equals(tables[1][column])]
    return f"other values of {', '.join(differing)}" if differing else ""


def bytes_differ(reference: Path, broken: Path) -> str:
    """Words where two files are not the same to the byte."""
    return "" if reference.read_bytes() == broken.read_bytes() else "other bytes"
