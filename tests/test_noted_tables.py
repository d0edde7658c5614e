"""Tables between jobs carry a checksum: an edited number is refused, dates or not."""

import logging
import subprocess
from types import SimpleNamespace

import pytest

from frugalvit.checksums import FOLDER, TABLES, check_noted, note_tables, noted
from frugalvit.errors import DataError
from frugalvit.files import write_json
from frugalvit.jobs.run import run_job
from tests.damage import change, edit, flip
from tests.workflows import TINY, results_of, snakemake

OLD = "its bytes are not those that were written"


@pytest.fixture(autouse=True)
def _logging_as_it_was():
    kept, raising = logging.getLogger().handlers[:], logging.raiseExceptions
    yield
    logging.basicConfig(handlers=kept, force=True)
    logging.raiseExceptions = raising


def job_of(folder, inputs, outputs):
    """What Snakemake hands to a script that reads and writes these files of a folder."""
    paths = ([str(folder / name) for name in names] for names in (inputs, outputs))
    read, written = paths
    return SimpleNamespace(log=[], input=read, output=written, rule="count", params={})


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [("predictions.csv", "0.25", "0.75"), ("metrics.json", "0.25", "0.24")],
)
def test_a_table_that_was_edited_is_refused_by_the_next_job_that_reads_it(
    tmp_path, capfd, name, old, new
):
    path, read = tmp_path / name, []
    (tmp_path / "a.svg").write_text("<svg/>")
    run_job(lambda _: path.write_text("accuracy: 0.25"), job_of(tmp_path, [], [name, "a.svg"]))
    assert [note.name for note in (tmp_path / FOLDER).iterdir()] == [f"{name}.sha256"]
    run_job(lambda _: read.append("whole"), job_of(tmp_path, [name, "a.svg"], ["b.svg"]))
    edit(path, old, new)
    with pytest.raises(SystemExit):
        run_job(lambda _: read.append("edited"), job_of(tmp_path, [name], ["c.svg"]))
    assert read == ["whole"]
    line = capfd.readouterr().err.splitlines()[-1]
    assert line.startswith(f"error: {path}: {OLD}")
    assert line.endswith(f"{FOLDER}/{name}.sha256 beside it says {noted(path)[0][:12]}…): damaged or "
                         "edited; delete it and run again")  # fmt: skip


def test_a_note_is_what_sha256sum_reads(tmp_path):
    write_json(tmp_path / "a b.json", 1)
    note_tables([tmp_path / "a b.json", tmp_path / "a.npy"])
    check = ["sha256sum", "--check", "--strict", f"{FOLDER}/a b.json.sha256"]
    assert subprocess.run(check, cwd=tmp_path, check=False, capture_output=True).returncode == 0


def test_a_note_that_is_damaged_is_believed_as_little(tmp_path):
    write_json(tmp_path / "a.json", 1)
    note_tables([tmp_path / "a.json"])
    (tmp_path / FOLDER / "a.json.sha256").write_bytes(b"")
    with pytest.raises(DataError, match=OLD):
        check_noted(tmp_path / "a.json")


# Edited file -> what a job makes of it.
EDITED = {
    "runs/frozen-s0/metrics.json": "summary.csv",
    "runs/frozen-s1/cost.csv": "summary.csv",
    "runs/early-s0/operating_points.csv": "summary.csv",
    "runs/early-s0/calibration.json": "runs/early-s0/cost.csv",
    "runs/search-g01-s0/history.csv": "grid/search.csv",
}


@pytest.mark.workflow
def test_every_table_of_a_finished_study_is_noted_and_an_edited_number_refused(copied):
    """With their dates kept."""
    results = results_of(copied)
    folders = (results, copied / "data")
    tables = [path for root in folders for path in root.rglob("*") if path.suffix in TABLES]
    assert len(tables) > 100
    # What no job declares: nothing reads it.
    silent = {path.name for path in tables if noted(path) is None}
    assert silent == set(), silent
    for path in tables:
        check_noted(path)
    for name, reader in EDITED.items():
        path = results / name
        before, state = path.read_bytes(), path.stat()
        at = max(before.rfind(digit) for digit in (b"1", b"3", b"5", b"7"))
        flip(path, at - len(before))  # to the digit below
        assert path.stat().st_mtime_ns == state.st_mtime_ns
        (results / reader).unlink(missing_ok=True)  # Snakemake removes all that a failed job makes
        done = asked(copied, reader)
        assert done.returncode != 0, name
        assert f"{path.relative_to(copied)}: {OLD}" in done.stderr
        assert "Traceback" not in done.stderr
        change(path, lambda _, before=before: before)
    done = asked(copied, "grid/search.csv")
    assert done.returncode == 0, done.stderr[-3000:]
    check_noted(results / "grid" / "search.csv")


def asked(folder, target):
    """What Snakemake says that was asked for a file of the tiny study."""
    return snakemake(folder, *TINY, "--resources", "gpu=0", "--", f"results/tiny/{target}")
