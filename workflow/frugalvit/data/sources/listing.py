"""Where a dataset's images come from: fetching them, and listing them with their labels."""

import dataclasses
import json
import logging
from collections import Counter
from pathlib import Path

import yaml

from frugalvit.data.annotations import judge
from frugalvit.data.items import SPLITS, Item, Listing
from frugalvit.data.sources.all_sources import source
from frugalvit.errors import ConfigError, DataError

log = logging.getLogger(__name__)


def download(dataset: dict, raw: str | Path, mirror: str | Path | None = None) -> dict:
    """Bring a dataset's files into `raw`; a user's folder is only looked at, never copied.

    Args:
        dataset: the `dataset` section of a study.
        raw: folder of this dataset alone.
        mirror: folder looked in before the network.

    Returns:
        What was fetched, with checksums: the content of the marker that later steps depend on.
    """
    name = dataset["source"]
    fetched = source(name).fetch(dataset, Path(raw), Path(mirror) if mirror else None)
    return {"source": name, **fetched}


def list_items(dataset: dict, raw: str | Path) -> Listing:
    """List a downloaded dataset's images as `listed` does, and say in the log what was found."""
    listing = listed(dataset, raw)
    for note in listing.notes:
        log.warning("%s", note)
    counts = Counter(item.split for item in listing.items)
    log.info(
        "%s: %d classes, %s; %d files that are no images left aside",
        dataset["name"],
        len(listing.class_names),
        ", ".join(f"{counts[split]} {split}" for split in SPLITS),
        listing.ignored_files,
    )
    if listing.empty_classes:
        log.info("classes without images: %s", ", ".join(listing.empty_classes))
    return listing


def listed(dataset: dict, raw: str | Path) -> Listing:
    """A downloaded dataset's images with their labels, sorted by split, label and file.

    Applies `class_names`, `classes` and `limit_per_class`. Labels count from 0 over the classes
    that are kept, in the order of the source. A source that is `local` needs no download for it.

    Raises:
        ConfigError: `dataset.classes` or `dataset.class_names` names what is not there.
        DataError: there are no images, the layout is none that we know, or labels cannot be used
            and `dataset.skip_bad_images` does not leave their images out.
    """
    raw = Path(raw)
    listing, folders = source(dataset["source"]).list(dataset, raw)
    said = f"{len(listing.faults)} label{'s' * (len(listing.faults) != 1)} cannot be used"
    judge(listing.faults, said, len(listing.items), dataset["skip_bad_images"])
    if dataset["class_names"]:
        _name_classes(listing, _read_names(dataset["class_names"], [*folders, raw]))
    _keep_classes(listing, dataset["classes"])
    listing.items = _labelled(listing, dataset["limit_per_class"])
    return listing


def _read_names(file: str, folders: list[Path]) -> dict[str, str]:
    candidates = [folder / file for folder in folders] + [Path(file).expanduser()]
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        raise ConfigError(
            f"dataset.class_names: {file} is neither in the dataset's folder nor a path; mend it"
        )
    try:
        text = path.read_text(encoding="utf-8")
        names = json.loads(text) if path.suffix.lower() == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: neither JSON nor YAML ({reason}); mend the file") from error
    if not isinstance(names, dict) or not names:
        raise DataError(f"{path}: expected a mapping from class folder to name")
    return {str(key): str(name) for key, name in names.items()}


def _name_classes(listing: Listing, names: dict[str, str]) -> None:
    """Give classes their readable names; folder 001 also answers to the key 1."""
    numbered = {int(key): name for key, name in names.items() if key.isdecimal()}
    for key in listing.class_names:
        name = names.get(key, numbered.get(int(key)) if key.isdecimal() else None)
        if name is None:
            listing.unnamed_classes.append(key)
        else:
            listing.class_names[key] = name
    twice = [name for name, n in Counter(listing.class_names.values()).items() if n > 1]
    if twice:
        keys = [key for key, name in listing.class_names.items() if name == twice[0]]
        raise DataError(
            f"dataset.class_names: classes {', '.join(keys)} are all named {twice[0]!r}; "
            "give each its own name"
        )


def _keep_classes(listing: Listing, wanted: list | None) -> None:
    if wanted is None:
        return
    wanted = [str(name) for name in wanted]
    known = set(listing.class_names) | set(listing.class_names.values())
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        some = ", ".join(list(listing.class_names.values())[:10])
        raise ConfigError(
            f"dataset.classes: {unknown[0]!r} is no class of this dataset, which has {some} …"
            if unknown
            else "dataset.classes: empty; name the classes to keep, or null for all"
        )
    listing.class_names = {
        key: name
        for key, name in listing.class_names.items()
        if key in set(wanted) or name in set(wanted)
    }
    listing.unnamed_classes = [key for key in listing.unnamed_classes if key in listing.class_names]
    listing.items = [item for item in listing.items if item.class_key in listing.class_names]


def _labelled(listing: Listing, limit: int | None) -> list[Item]:
    labels = {key: label for label, key in enumerate(listing.class_names)}
    items = sorted(
        listing.items,
        key=lambda item: (SPLITS.index(item.split), labels[item.class_key], item.file),
    )
    taken: Counter = Counter()
    kept = []
    for item in items:
        place = (item.split, item.class_key)
        taken[place] += 1
        if limit is None or taken[place] <= limit:
            label, name = labels[item.class_key], listing.class_names[item.class_key]
            kept.append(dataclasses.replace(item, label=label, class_name=name))
    if not kept:
        raise DataError("the dataset holds no images after dataset.classes")
    return kept
