"""Digests of the code behind a rule, so that a changed module reruns exactly what uses it.

Snakemake notices a changed script but not a changed module that the script imports; each rule
therefore carries the digest of its script's transitive imports within this package as a parameter.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
SCRIPTS = PACKAGE.parent / "scripts"


def script_digest(script: str) -> str:
    """12 hexadecimal digits that change when a module that `script` uses changes.

    Comments, docstrings and formatting do not count: they cannot change a result. The script's own
    text is left out, because Snakemake watches it.

    Args:
        script: name of a file in workflow/scripts, without `.py`.
    """
    seen: set[Path] = set()
    pending = sorted(_imports(SCRIPTS / f"{script}.py"))
    while pending:
        module = pending.pop()
        if module not in seen:
            seen.add(module)
            pending.extend(_imports(module))
    digest = hashlib.sha256()
    for module in sorted(seen):
        digest.update(module.relative_to(PACKAGE).as_posix().encode())
        digest.update(_meaning(module).encode())
    return digest.hexdigest()[:12]


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def _imports(path: Path) -> frozenset[Path]:
    """Files of this package that `path` imports anywhere, inside functions too."""
    found = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            if name.split(".")[0] == PACKAGE.name:
                found |= _files(name)
    return frozenset(found)


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


@cache
def _meaning(path: Path) -> str:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body
            if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
                node.body = body[1:]
    return ast.dump(tree)
