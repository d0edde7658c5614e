"""Every file that a rule or a resumed run relies on is written whole or not at all."""

import ast
import multiprocessing
import os
import re
import stat
import time
from pathlib import Path

import pytest

from frugalvit import files
from frugalvit.data.prepare import prepare
from frugalvit.files import atomic_path, write_json
from tests.imagefolders import settings
from tests.workflows import ROOT

WORKFLOW = ROOT / "workflow"
WRITERS = {
    "copyfile", "open_memmap", "save_safetensors", "savefig", "to_csv", "write_bytes", "write_text",
}  # fmt: skip
WRITERS |= {"np.save", "torch.save"}
# Unfinished downloads are kept on purpose; files.py is what makes the others whole; a log is no result;
# token grids are scratch, removed with their folder; the store's arrays are temporary, of `prepare`.
APART = {
    "data/download.py",
    "files.py",
    "jobs/run.py",
    "training/phases.py",
    "data/arrays.py",
    "figures/answer_page.py",  # a figure within the page's own text
    "figures/kept.py",  # a whole folder under a temporary name
}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def calls_outside_atomic_path(source: str) -> list[str]:
    """Calls of `WRITERS` that no `with atomic_path(…)` encloses."""
    found = []

    def visit(node: ast.AST, inside: bool) -> None:
        if isinstance(node, ast.With):
            inside |= any("atomic_path" in ast.unparse(item.context_expr) for item in node.items)
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if not inside and {name, name.rsplit(".", 1)[-1]} & WRITERS:
                found.append(f"line {node.lineno}: {ast.unparse(node)[:60]}")
        for child in ast.iter_child_nodes(node):
            visit(child, inside)

    visit(ast.parse(source), False)
    return found


def test_the_scan_of_writers_sees_what_it_shall():
    assert calls_outside_atomic_path("table.to_csv(path)") == ["line 1: table.to_csv(path)"]
    assert calls_outside_atomic_path("with open(p) as f:\n    np.save(f, x)")
    assert not calls_outside_atomic_path("with atomic_path(p) as t:\n    torch.save(x, t)")


@pytest.mark.parametrize("folder", ["frugalvit", "scripts"])
def test_results_are_written_under_a_temporary_name(folder):
    loose = {
        path.relative_to(WORKFLOW / folder).as_posix(): found
        for path in sorted((WORKFLOW / folder).rglob("*.py"))
        if (found := calls_outside_atomic_path(path.read_text()))
    }
    assert {name: found for name, found in loose.items() if name not in APART} == {}


def test_no_rule_writes_by_a_shell():
    for rules in sorted((WORKFLOW / "rules").glob("*.smk")):
        assert not re.search(r"(?m)^\s*(shell|run):", rules.read_text()), rules.name


def test_a_file_is_synced_before_it_gets_its_name_and_its_folder_after(tmp_path, monkeypatch):
    told = []
    target = tmp_path / "a.csv"
    fsync = os.fsync

    def watched(handle):
        kind = "folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file"
        told.append((kind, target.exists()))
        fsync(handle)

    monkeypatch.setattr(files.os, "fsync", watched)
    with atomic_path(target) as temporary:
        temporary.write_text("1")
        assert not target.exists()
    assert told == [("file", False), ("folder", True)]
    assert target.read_text() == "1"
    assert names(tmp_path) == ["a.csv"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "a.json") as temporary:
        temporary.write_text("[1, 2")
        raise RuntimeError
    assert (tmp_path / "a.json").read_text() == "1\n"
    assert names(tmp_path) == ["a.json"]


def test_a_store_has_an_index_only_while_it_is_whole(tmp_path, monkeypatch):
    dataset = settings(source="digits", name="digits")
    prepare(dataset, tmp_path / "raw", tmp_path / "store")
    order = []
    put = files.put_in_place

    def watched(temporary, path):
        order.append((path.name, (tmp_path / "store" / "index.csv").exists()))
        put(temporary, path)

    monkeypatch.setattr(files, "put_in_place", watched)
    prepare(dataset, tmp_path / "raw", tmp_path / "store")
    assert {name for name, _ in order[:3]} == {"train.npy", "valid.npy", "test.npy"}
    assert [name for name, _ in order[3:]] == ["report.json", "index.csv"]
    assert not any(there for _, there in order)


def write_for_ever(path: Path) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"0" * 1000)
        time.sleep(600)


def start_writing(path: Path) -> multiprocessing.Process:
    writer = multiprocessing.get_context("fork").Process(target=write_for_ever, args=(path,))
    writer.start()
    deadline = time.monotonic() + 30
    while not any(
        file.stat().st_size for file in path.parent.glob(f".{path.name}.????????{path.suffix}")
    ):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return writer


def test_what_a_killed_writer_leaves_goes_with_the_next_write(tmp_path):
    (tmp_path / ".a.csv.notes.csv").write_text("a user's")
    writer = start_writing(tmp_path / "a.csv")
    writer.kill()
    writer.join()
    assert len(names(tmp_path)) == 2
    write_json(tmp_path / "b.csv", 1)
    assert len(names(tmp_path)) == 3, "another file's temporary is not this one's to judge"
    with atomic_path(tmp_path / "a.csv"):
        assert len(list(tmp_path.glob(".a.csv.????????.csv"))) == 1, "the old one goes first"
    assert names(tmp_path) == [".a.csv.notes.csv", "a.csv", "b.csv"]


def test_a_living_writer_keeps_its_temporary_file(tmp_path):
    writer = start_writing(tmp_path / "a.csv")
    try:
        held = set(names(tmp_path))
        write_json(tmp_path / "a.csv", 1)
        assert set(names(tmp_path)) == held | {"a.csv"}
    finally:
        writer.kill()
        writer.join()


def test_a_file_is_written_where_a_lock_keeps_every_other_descriptor_out(tmp_path, monkeypatch):
    released = []

    def refused(path, data):  # as SMB's locks do
        if not released:
            raise PermissionError

    monkeypatch.setattr(files, "release", released.append)
    monkeypatch.setattr(Path, "write_bytes", refused)
    write_json(tmp_path / "a.json", 1)
    assert len(released) == 1
    assert (tmp_path / "a.json").read_text() == "1\n"
