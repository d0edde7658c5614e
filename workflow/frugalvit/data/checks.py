"""What may be wrong with a division into splits, said in words and written as JSON."""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from frugalvit.chance import FEW_OF_CLASS, few_images
from frugalvit.data import annotations as boxes
from frugalvit.data.seen import View, share_seen, told, too_little
from frugalvit.data.splits import PARTS, UNUSED
from frugalvit.data.tones import Stretch, small_range
from frugalvit.errors import DataError
from frugalvit.words import SPLIT_NAMES

_SHOWN = 5  # examples in a printed line; the report has all
_ALSO = " | "  # between the findings of one check


def check(
    index: pd.DataFrame,
    assignments: pd.DataFrame,
    splits: dict,
    prepared: Mapping[str, Any] | None = None,
    view: View | None = None,
) -> dict:
    """Examine the splits; the report's `lines` are to be printed.

    Unused images are left out of every check.

    Args:
        index: a store's table.
        assignments: `assign`'s table.
        splits: the `splits` section of a study.
        prepared: the store's report, of which `unnamed_classes`, `used_range`, `stretch`
            and `annotations` are read.
        view: what the models see of an image, where that is to be told.

    Returns:
        `sizes`, `class_counts`, `seen` (area share of a square image), `annotations`, one entry a
        check (`policy`, `passed`, `found`), `warnings`, `errors` (one line each, by policy) and
        `lines`. Call `raise_errors` after writing it.
    """
    prepared = prepared or {}
    columns = ["id", "file", "sha256", "group"]
    used = assignments[assignments["split"] != UNUSED].merge(index[columns], on="id")
    class_names = assignments.drop_duplicates("label").sort_values("label")["class_name"].tolist()
    counts = {
        split: used.loc[used["split"] == split, "class_name"]
        .value_counts()
        .reindex(class_names, fill_value=0)
        for split in PARTS
        if split != "calibration" or splits["calibration"]
    }
    findings = {
        "missing_classes": _missing(counts),
        "small_splits": _small(counts),
        "imbalance": _imbalance(counts["train"], splits["imbalance_ratio"]),
        "duplicates_within": _duplicates(used, across=False),
        "duplicates_across": _duplicates(used, across=True),
        "group_leak": _group_leaks(used),
        "label_mismatch": _mismatches(used, class_names, prepared.get("unnamed_classes", ())),
    }
    if used_range := prepared.get("used_range"):
        key = view.key if view else "dataset"
        findings["small_range"] = _small_range(used_range, prepared["stretch"], key)
    if view:
        findings["small_view"] = _small_view(view)
    report: dict[str, Any] = {
        "sizes": {split: int(numbers.sum()) for split, numbers in counts.items()},
        "unused": int((assignments["split"] == UNUSED).sum()),
        "classes": len(class_names),
        "class_counts": {
            split: {name: int(n) for name, n in numbers.items()}
            for split, numbers in counts.items()
        },
        "seen": round(share_seen(view), 4) if view else None,
        "annotations": prepared.get("annotations"),
        "checks": {},
        "warnings": [],
        "errors": [],
        "lines": [" ".join(str(int(numbers.sum())) for numbers in counts.values())],
    }
    if splits["mode"] == "fraction" and report["unused"]:
        report["lines"].append(
            f"{report['unused']} validation images of the source are left out (splits.mode: fraction); "
            "official validates on them"
        )
    if view:
        report["lines"].append(told(view))
    if report["annotations"]:
        report["lines"].append(boxes.told(report["annotations"]))
    for name, (found, lines) in findings.items():
        policy = splits["checks"][name]
        if policy == "off":
            continue
        report["checks"][name] = {
            "policy": policy,
            "passed": not found,
            "found": found,
            "what": lines[-1] if found else "",
        }
        report["lines"] += [part for line in lines for part in line.split(_ALSO)]
        if found:
            kind = "errors" if policy == "error" else "warnings"
            report[kind].append(f"splits.checks.{name}: {lines[-1]}")
    return report


def checks_table(report: dict, skipped: Sequence[dict]) -> pd.DataFrame:
    """One row a check: `check, policy, passed, found` (how many), `what` (the first of them).

    Args:
        report: of `check`.
        skipped: images that preparing left out, each `file` and `error`.
    """
    examples = "; ".join(f"{bad['file']}: {bad['error']}" for bad in skipped[:_SHOWN])
    rows = [("unreadable_images", "left out", not skipped, len(skipped), examples)]
    rows += boxes.rows(report["annotations"]) if report.get("annotations") else []
    for name, entry in report["checks"].items():
        rows.append((name, entry["policy"], entry["passed"], len(entry["found"]), entry["what"]))
    return pd.DataFrame(rows, columns=["check", "policy", "passed", "found", "what"])


def raise_errors(report: dict) -> None:
    """Raise what checks of policy `error` found.

    Raises:
        DataError: one line with every such finding and the remedy.
    """
    if report["errors"]:
        raise DataError(
            "; ".join(report["errors"]) + "; mend the data or set these checks to warn or off"
        )


Finding = tuple[list, list[str]]  # what was found, for the report; lines to print


def _missing(counts: dict[str, pd.Series]) -> Finding:
    found, said = [], []
    for split, numbers in counts.items():
        absent = [str(name) for name in numbers.index[numbers == 0]]
        if absent:
            found.append({"split": split, "classes": absent})
            said.append(
                f"{split}: At least one class is not represented in this set: {len(absent)} of "
                f"{len(numbers)}: {_some(absent)}"
            )
    present = [split for split in counts if split not in {entry["split"] for entry in found}]
    lines = [f"{split}: Every class is represented in this set" for split in present]
    return found, [*lines, *([_ALSO.join(said)] if said else [])]


def _small(counts: dict[str, pd.Series]) -> Finding:
    """Splits and classes with so few images that their numbers mislead."""
    found: list = []
    said = []
    for split, numbers in counts.items():
        images = int(numbers.sum())
        if what := few_images(split, images):
            found.append({"split": split, "images": images})
            said.append(f"{images} {SPLIT_NAMES[split]} image{'s' * (images != 1)}: {what}")
    for split in ("train", "test"):
        few = counts[split][(counts[split] > 0) & (counts[split] < FEW_OF_CLASS)]
        if few.empty:
            continue
        found += [{"split": split, "class": name, "images": int(n)} for name, n in few.items()]
        named = _some([f"{n} of {name!r}" for name, n in few.sort_values().items()])
        what = "too few to learn from" if split == "train" else "too few to judge a class by"
        said.append(f"{SPLIT_NAMES[split]} images, by class: {named}: {what}")
    return found, [_ALSO.join(said)] if said else []


def _small_view(view: View) -> Finding:
    said = too_little(view)
    return ([view._asdict()], [said]) if said else ([], [])


def _small_range(used: Sequence[float], stretch: Stretch | None, key: str) -> Finding:
    said = small_range(used[0], used[1], stretch, key)
    return ([{"used_range": used}], [said]) if said else ([], [])


def _imbalance(train: pd.Series, limit: float) -> Finding:
    present = train[train > 0]
    ratio = present.max() / present.min()
    if ratio <= limit:
        return [], []
    largest, smallest = present.idxmax(), present.idxmin()
    found = [{"largest": largest, "smallest": smallest, "ratio": round(float(ratio), 2)}]
    return found, [
        f"the training set holds {present.max()} of {largest!r} but {present.min()} of "
        f"{smallest!r}: more than {limit:g} to 1"
    ]


def _duplicates(used: pd.DataFrame, across: bool) -> Finding:
    """Byte-identical images that lie in one split, or in several."""
    repeated = _repeated(used, "sha256")
    if across:
        concerned = repeated.groupby("sha256")["split"].transform("nunique") > 1
    else:
        concerned = repeated.duplicated(["sha256", "split"], keep=False)
    found = _gathered(repeated, concerned)
    if not found:
        return [], []
    where = "lie in more than one split" if across else "are more than once in one split"
    examples = _some([" = ".join(_name(member) for member in members) for members in found])
    return found, [f"byte-identical images {where}, {_times(found)}: {examples}"]


def _group_leaks(used: pd.DataFrame) -> Finding:
    pairs = used.loc[used["group"] != "", ["group", "split"]].drop_duplicates()
    places: dict[str, set[str]] = {}
    for group, split in pairs.itertuples(index=False, name=None):
        places.setdefault(group, set()).add(split)
    found = [
        {"group": group, "splits": [split for split in PARTS if split in splits]}
        for group, splits in places.items()
        if len(splits) > 1
    ]
    if not found:
        return [], []
    examples = _some([f"{leak['group']} ({', '.join(leak['splits'])})" for leak in found])
    return found, [f"images of one origin lie in more than one split, {_times(found)}: {examples}"]


def _mismatches(
    used: pd.DataFrame, class_names: Sequence[str], unnamed_classes: Sequence[str]
) -> Finding:
    """The same bytes under two labels, class folders without a name, and names that may be one."""
    found: list = []
    said = []
    repeated = _repeated(used, "sha256")
    different = repeated.groupby("sha256")["label"].transform("nunique") > 1
    twice = _gathered(repeated, different)
    if twice:
        found += [{"identical": members} for members in twice]
        examples = _some(
            [
                " = ".join(f"{_name(member)} as {member['class_name']!r}" for member in members)
                for members in twice
            ]
        )
        said.append(f"byte-identical images have different labels, {_times(twice)}: {examples}")
    if unnamed_classes:
        found.append({"unnamed_classes": list(unnamed_classes)})
        names = _some(list(unnamed_classes))
        said.append(f"class folders without a name in dataset.class_names: {names}")
    if alike := _alike(class_names):
        found += [{"alike_classes": names} for names in alike]
        # Escaped: composed and decomposed letters look the same.
        examples = _some([" and ".join(f"{name!a}" for name in names) for names in alike])
        said.append(
            "classes whose names differ in case, spaces or Unicode composition alone: "
            f"{examples}; rename the folders if they are one class"
        )
    return found, [_ALSO.join(said)] if said else []


def _alike(class_names: Sequence[str]) -> list[list[str]]:
    """Groups of names that a person may take for one."""
    groups: dict[str, list[str]] = {}
    for name in class_names:
        plain = unicodedata.normalize("NFKC", name).casefold()
        groups.setdefault(" ".join(plain.split()), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def _repeated(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Rows that share a value with another."""
    return table[table.duplicated(column, keep=False)]


def _gathered(repeated: pd.DataFrame, concerned: pd.Series) -> list[list[dict]]:
    """The concerned rows of each checksum, checksums in the order of their first row."""
    # One pass: a table of a million images may have thousands of repeated ones.
    members: dict[str, list[dict]] = {sha256: [] for sha256 in repeated["sha256"]}
    columns = ["sha256", "split", "file", "class_name"]
    for sha256, *values in repeated.loc[concerned, columns].itertuples(index=False, name=None):
        members[sha256].append(dict(zip(columns[1:], values)))
    return [rows for rows in members.values() if rows]


def _name(member: dict) -> str:
    """The file, with its split where the path does not tell it (or no longer does)."""
    return f"{member['file']} [{member['split']}]"


def _times(found: list) -> str:
    return "once" if len(found) == 1 else f"{len(found)} times"


def _some(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
