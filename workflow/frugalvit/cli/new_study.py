"""`frugalvit new`: a study's file for a folder of images, after a look at them."""

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from frugalvit.cli.common import name_of
from frugalvit.errors import ConfigError, one_line

if TYPE_CHECKING:
    from frugalvit.data.looking import Found

TEMPLATE = Path("config/studies/your_images.yaml")
SHOWN = 5  # classes, files: the others are counted
# Lines of the template, and what stands there in a new study.
HEADER = re.compile(r"\A(?:#.*\n)+")
STUDY = re.compile(r"(?m)^study: .*$")
DATASET = re.compile(r"(?m)^  name: .*$")
PATH = re.compile(r"(?m)^  path: .*$")
SPLITS = re.compile(r"(?m)^splits: .*$")
DIVIDED = re.compile(r"(?m)^# A quarter of the photos .*\n# folder .*$")


@click.command("new")
@click.argument("name")
@click.option(
    "--images",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder with one folder of images a class, or train, valid and test with these.",
)
@click.option("--json", "as_json", is_flag=True, help="What was found as JSON.")
def command(name: str, images: Path, as_json: bool) -> None:
    """Write config/studies/NAME.yaml for a folder of IMAGES, and say what was found in it.

    Every image is decoded once: what cannot be read, what is there twice and how many images each
    split would get is known before anything is trained. A file that is there is not overwritten.
    Call it in the workflow's folder; paths of a study start there.

    \b
    Examples:
      frugalvit new my_flowers --images photos
      make study CONFIG=config/studies/my_flowers.yaml
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ConfigError(f"{name}: a study's name has small letters, digits and _ alone")
    if not TEMPLATE.is_file():
        raise ConfigError(f"{TEMPLATE}: not here; call this in the folder that holds the Snakefile")
    target = TEMPLATE.with_name(f"{name}.yaml")
    if target.exists():
        raise ConfigError(f"{target}: is there already; choose another name, or remove it")

    import yaml

    from frugalvit.config.study import load_study
    from frugalvit.data.checks import check
    from frugalvit.data.looking import look_at
    from frugalvit.data.splits import assign, require_classes
    from frugalvit.files import atomic_path

    text = written(TEMPLATE.read_text(encoding="utf-8"), name, images)
    study = load_study(yaml.safe_load(text))
    found = look_at(study.datasets[study.dataset], os.cpu_count() or 1)
    require_classes(found.index)
    splits = study.split_sets["splits"]
    assignments = assign(found.index, splits)
    prepared = {"used_range": found.used_range, "stretch": None}
    report = check(found.index, assignments, splits, prepared, study.view_of("splits"))
    told = summary(found, report)
    with atomic_path(target) as temporary:
        temporary.write_text(with_findings(text, told), encoding="utf-8")
    if as_json:
        click.echo(json.dumps({"study": str(target), **told}, ensure_ascii=False, indent=2))
    else:
        for line in lines_of(told):
            click.echo(one_line(line))
        click.echo(f"{target} is written; read it, then: make study CONFIG={target}")
    click.get_current_context().exit(int(bool(found.bad)))


def written(template: str, name: str, images: Path) -> str:
    """The shipped study with its name, the folder and how that is divided."""
    from frugalvit.data.folders import SPLIT_FOLDERS, folders_of

    # JSON's text is YAML's in double quotes, whatever a folder is called.
    path = json.dumps(name_of(images.expanduser()), ensure_ascii=False)
    text = _put(STUDY, template, f"study: {name}")
    text = _put(DATASET, text, f"  name: {name}")
    text = _put(PATH, text, f"  path: {path}")
    own = {SPLIT_FOLDERS.get(folder.name.lower()) for folder in folders_of(images)}
    if {"train", "valid", "test"} <= own:
        text = _put(DIVIDED, text, "# As the folders train, valid and test divide them.")
        text = _put(SPLITS, text, "splits: {mode: official}")
    return text


def _put(line: re.Pattern[str], text: str, new: str) -> str:
    text, count = line.subn(lambda _: new, text)
    if count != 1:
        raise ConfigError(
            f"{TEMPLATE}: not the file of this version (no line '{line.pattern}'); check it out again"
        )
    return text


def summary(found: "Found", report: dict[str, Any]) -> dict[str, Any]:
    """What is told of a folder, for people and as JSON."""
    counts = found.index["class_name"].value_counts().sort_index()
    sides = [side for look in found.looks for side in (look.width, look.height)]
    return {
        "images": len(found.index),
        "classes": {str(key): int(value) for key, value in counts.items()},
        "sides_px": [min(sides), max(sides)],
        "bad": found.bad,
        "splits": report["sizes"],
        "warnings": report["warnings"] + report["errors"],
        "notes": found.notes,
    }


def lines_of(told: dict[str, Any]) -> list[str]:
    """The summary in words."""
    classes = sorted(told["classes"].items(), key=lambda pair: -pair[1])
    named = ", ".join(f"{name} {count}" for name, count in classes[:SHOWN])
    more = f" and {len(classes) - SHOWN} more" if len(classes) > SHOWN else ""
    low, high = told["sides_px"]
    lines = [
        f"{told['images']:,} images in {len(classes)} classes: {named}{more}",
        f"sides of {low:,} to {high:,} px",
        "splits: " + ", ".join(f"{count:,} {split}" for split, count in told["splits"].items()),
    ]
    if told["bad"]:
        some = "; ".join(f"{bad['file']}: {bad['error']}" for bad in told["bad"][:SHOWN])
        lines.append(f"{len(told['bad'])} files cannot be read and will be left out: {some}")
    return [*lines, *told["notes"], *told["warnings"]]


def with_findings(text: str, told: dict[str, Any]) -> str:
    """The study with what was found as its header, and bad files left out where there are any."""
    header = "".join(f"# {one_line(line)}\n" for line in lines_of(told))
    kept = [
        "# A photo taken twice, or cropped from another, belongs to one class folder once: what trains",
        "# must not test.",
    ]
    text = _put(HEADER, text, header + "\n".join(kept) + "\n")
    if told["bad"]:
        place = PATH.search(text)
        assert place is not None, "the study names its folder"
        text = f"{text[: place.end()]}\n  skip_bad_images: true{text[place.end() :]}"
    return text
