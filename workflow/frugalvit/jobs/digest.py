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
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
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


def modules_digest(modules: Iterable[str]) -> str:
    """The digest of modules, and of what they import, where no script is run."""
    return _digest(None, frozenset(modules))


@cache
def _digest(script: str | None, modules: frozenset[str]) -> str:
    seen: set[Path] = set()
    pending = set(_read(SCRIPTS / f"{script}.py")[0]) if script else set()
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
    imported: set[str] = set()
    words: list[str] = []
    _write(ast.parse(path.read_text()), words, imported)
    own = [name for name in imported if name.split(".")[0] == PACKAGE.name]
    return frozenset().union(*map(_files, own)), " ".join(words)


def _write(node: ast.AST, words: list[str], imported: set[str]) -> None:
    """Add what a node and those below it say to `words`, and what they import to `imported`.

    `ast.dump` and `ast.walk` would take twice as long.
    """
    if isinstance(node, ast.Import):
        imported.update(alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        imported.add(node.module)
        imported.update(f"{node.module}.{alias.name}" for alias in node.names)
    words.append(node.__class__.__name__)
    for field in node._fields:
        value = getattr(node, field, None)
        if isinstance(value, ast.AST):
            _write(value, words, imported)
        elif isinstance(value, list):
            words.append(f"{field}[")
            for part in value[_has_docstring(node, field) :]:
                if isinstance(part, ast.AST):
                    _write(part, words, imported)
                else:
                    words.append(repr(part))
            words.append("]")
        else:
            words.append(repr(value))


def _has_docstring(node: ast.AST, field: str) -> bool:
    """Whether a field of a node is a body that begins with a docstring."""
    if field != "body" or not isinstance(node, _DOCUMENTED) or not node.body:
        return False
    first = node.body[0]
    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)


@cache
def _files(module: str) -> frozenset[Path]:
    """The file of `module` and the packages around it, whose `__init__` runs too."""
    parts = module.split(".")[1:]
    files: set[Path] = set()
    for depth in range(len(parts) + 1):
        base = PACKAGE.joinpath(*parts[:depth])
        files |= {
            path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()
        }
    return frozenset(files)
