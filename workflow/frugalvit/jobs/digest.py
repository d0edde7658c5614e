"""Digests of the code behind a rule, so that a changed module reruns exactly what uses it.

Snakemake notices a changed script but not a changed module that the script imports; each rule
therefore carries the digest of its script's transitive imports within this package as a parameter.
What a method brings is loaded when it is asked for, so a rule names these modules besides.
"""

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
SCRIPTS = PACKAGE.parent / "scripts"
# Around a job's work, or only where its parts are looked up: nothing of it reaches a number.
PLUMBING = (
    "jobs",
    "methods/registry.py",
    "methods/method.py",
    "figures/figure.py",
    "data/sources/all_sources.py",
    "data/sources/source.py",
)


def script_digest(script: str, modules: Iterable[str] = ()) -> str:
    """12 hexadecimal digits that change when a module that `script` uses changes.

    Comments, docstrings and formatting do not count: they cannot change a result. The script's own
    text is left out, because Snakemake watches it.

    Args:
        script: name of a file in workflow/scripts, without `.py`.
        modules: dotted names of modules that it loads by name.
    """
    return _digest(script, frozenset(modules))


@cache
def _digest(script: str, modules: frozenset[str]) -> str:
    seen: set[Path] = set()
    pending = set(_read(SCRIPTS / f"{script}.py")[0])
    for name in modules:
        pending |= _files(name)
    while pending:
        module = pending.pop()
        if module not in seen and not _is_plumbing(module):
            seen.add(module)
            pending |= _read(module)[0]
    digest = hashlib.sha256()
    for module in sorted(seen):
        digest.update(module.relative_to(PACKAGE).as_posix().encode())
        digest.update(_read(module)[1].encode())
    return digest.hexdigest()[:12]


def _is_plumbing(module: Path) -> bool:
    inside = module.relative_to(PACKAGE)
    return any(inside.is_relative_to(part) for part in PLUMBING)


@cache
def _read(path: Path) -> tuple[frozenset[Path], str]:
    """Files of this package that `path` imports anywhere, inside functions too; and what it means.

    Each module is parsed once, and its tree not kept: it is much of the time that planning takes.
    """
    tree = ast.parse(path.read_text())
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module and not node.level:
                imported.add(node.module)
                imported.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body
            if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
                node.body = body[1:]
    own = [name for name in imported if name.split(".")[0] == PACKAGE.name]
    return frozenset().union(*map(_files, own)), ast.dump(tree)


def _files(module: str) -> set[Path]:
    """The file of `module` and the packages around it, whose `__init__` runs too."""
    parts = module.split(".")[1:]
    files = set()
    for depth in range(len(parts) + 1):
        base = PACKAGE.joinpath(*parts[:depth])
        files |= {
            path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()
        }
    return files
