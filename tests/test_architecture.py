"""The house as docs/architecture.md draws it: arrows point one way, files tell one thing."""

import ast
from functools import cache
from pathlib import Path

import pytest

WORKFLOW = Path(__file__).resolve().parents[1] / "workflow"
LIBRARY = WORKFLOW / "frugalvit"
LEAVES = {
    "errors",
    "files",
    "checksums",
    "provenance",
    "words",
    "chance",
    "busy",
    "operating_point",
}
# Room -> rooms that it may import, besides the leaves and itself.
ARROWS = {
    "jobs": {"devices"},
    "devices": set(),
    "data": {"jobs"},
    "models": {"data", "jobs"},  # weights are downloaded as data are
    "training": {"models", "data", "jobs", "devices"},
    "evaluation": {"models", "data", "jobs", "devices"},
    "methods": {"training", "evaluation", "models", "data", "jobs", "devices", "figures"},
    "figures": {"config", "methods"},  # the contract and the registry of methods
    "config": {"models", "data", "methods"},  # of models what needs no torch, as below
    "direct": {"config", "methods", "training", "models", "data", "jobs", "devices"},
    "export": {"methods", "evaluation", "models", "data", "jobs", "devices"},
    "cli": {
        "config",
        "figures",
        "direct",
        "export",
        "methods",
        "evaluation",
        "models",
        "data",
        "jobs",
        "devices",
    },
}
# The configuration's half and the figures: what they may import of rooms that hold tensors elsewhere.
LIGHT = ("config", "figures")
# Of `methods/`, what belongs to no method.
OF_ALL = {"method", "own_networks", "graphs", "tokens"}  # that a room may import
MOST_LINES = 350


def files(room: Path = LIBRARY) -> list[Path]:
    return sorted(room.rglob("*.py"))


@cache
def imports(path: Path) -> frozenset[str]:
    """Dotted names within the library that a file imports when it runs; not for type checkers alone."""
    found = set()
    pending = list(ast.parse(path.read_text()).body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "frugalvit":
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found.add(name if module_file(name) else node.module)
        pending.extend(ast.iter_child_nodes(node))
    return frozenset(name.removeprefix("frugalvit").lstrip(".") for name in found)


def module_file(name: str) -> Path | None:
    base = LIBRARY.joinpath(*name.split(".")[1:])
    found = [path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()]
    return found[0] if found else None


def room_of(name: str) -> str:
    return name.split(".", maxsplit=1)[0].removesuffix(".py")


@pytest.mark.parametrize("path", files(), ids=lambda path: path.relative_to(LIBRARY).as_posix())
def test_arrows_point_one_way(path):
    parts = path.relative_to(LIBRARY).with_suffix("").parts
    if parts == ("__init__",):
        return
    own, called = parts[0], {room_of(name) for name in imports(path)} - LEAVES - {""}
    if own in LEAVES:
        assert not called, "a leaf imports leaves alone"
    else:
        assert called <= ARROWS[own] | {own}, f"{own} imports {called - ARROWS[own] - {own}}"


ROOMS = [path for path in files(LIBRARY / "methods") if path.parent.name != "methods"]


@pytest.mark.parametrize("path", ROOMS, ids=lambda path: "/".join(path.parts[-3:]))
def test_no_method_imports_another(path):
    own = path.relative_to(LIBRARY / "methods").parts[0]
    others = {name.split(".")[1] for name in imports(path) if name.startswith("methods.")}
    assert others <= OF_ALL | {own}, f"{path} imports {others - OF_ALL - {own}}"


def heavy(path: Path) -> set[str]:
    """Heavy packages that a file imports, wherever in it."""
    names = set()
    pending = list(ast.parse(path.read_text()).body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        pending.extend(ast.iter_child_nodes(node))
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names & {"torch", "torchvision", "snakemake", "lightning_fabric", "torchmetrics"}


def closure(paths: list[Path]) -> set[Path]:
    """Files that these import, and so on."""
    seen: set[Path] = set()
    pending = list(paths)
    while pending:
        path = pending.pop()
        if path not in seen:
            seen.add(path)
            pending += [
                found for name in imports(path) if (found := module_file(f"frugalvit.{name}"))
            ]
    return seen


@pytest.mark.parametrize(
    "start",
    [LIBRARY / "config", LIBRARY / "figures", *sorted((LIBRARY / "methods").glob("*/figures"))],
    ids=lambda path: "/".join(path.parts[-2:]),
)
def test_the_configuration_and_figures_never_see_torch(start):
    starts = files(start)
    if start.name == "config":
        starts += sorted((LIBRARY / "methods").glob("*/keys.py"))
    # A source's file may import torchvision inside a function, to read what it lists.
    seen = {path for path in closure(starts) if "sources" not in path.parts}
    assert {path: heavy(path) for path in seen if heavy(path)} == {}


def test_the_library_never_imports_snakemake():
    assert [path for path in files() if "snakemake" in heavy(path)] == []


def test_files_tell_one_thing():
    sizes = {path: len(path.read_text().splitlines()) for path in files()}
    assert {path: size for path, size in sizes.items() if size > MOST_LINES} == {}
    scripts = {
        path: len(path.read_text().splitlines()) for path in (WORKFLOW / "scripts").glob("*.py")
    }
    assert {path: size for path, size in scripts.items() if size > 60} == {}
    rules = {
        path: len(path.read_text().splitlines()) for path in (WORKFLOW / "rules").glob("*.smk")
    }
    assert {path: size for path, size in rules.items() if size > 160} == {}


def test_no_two_files_share_a_name_besides_a_rooms_parts():
    parts = {
        "__init__",
        "keys",
        "model",
        "objective",
        "points",
        "tables",
        "check",
        "answering",
        "showing",
        "exporting",
    }
    names: dict[str, list[Path]] = {}
    for path in files():
        names.setdefault(path.stem, []).append(path.relative_to(LIBRARY))
    twice = {name: found for name, found in names.items() if len(found) > 1 and name not in parts}
    # `tables` of figures reads them, those of methods write them.
    assert twice == {}


def test_rules_name_no_method():
    methods = [
        path.name for path in (LIBRARY / "methods").iterdir() if (path / "keys.py").is_file()
    ]
    assert len(methods) >= 5
    for path in [WORKFLOW.parent / "Snakefile", *(WORKFLOW / "rules").glob("*.smk")]:
        assert [name for name in methods if name in path.read_text()] == [], path
