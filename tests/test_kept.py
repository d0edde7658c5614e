"""Results that stay: kept small, drawn from without training, and written by no run."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner

from frugalvit.cli.main import frugalvit
from frugalvit.config.reading import read_yaml
from frugalvit.config.study import load_study
from frugalvit.errors import ConfigError, DataError
from frugalvit.figures import kept
from tests.workflows import ROOT, refused, results_of, run

REFERENCES = sorted((ROOT / "results" / "reference").glob("*/card.json"))
TINY = ("--configfile", "study.yaml", "--cores", "2", "--resources", "gpu=0")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def pictures(folder: Path) -> dict[str, bytes]:
    return {
        name: content
        for name, content in contents(folder).items()
        if name.endswith((".svg", ".html")) and name != "report.html"
    }


@pytest.fixture
def tiny(finished, tmp_path):
    """What is kept of the tiny study, and the study itself."""
    home = tmp_path / "kept"
    kept.keep(finished / "study.yaml", results_of(finished), home)
    return home / "tiny", finished


@pytest.mark.workflow
def test_figures_redrawn_are_those_that_the_workflow_drew(tiny, tmp_path):
    folder, finished = tiny
    assert json.loads((folder / "card.json").read_text())["left_out"] == {}
    drawn, undrawn = kept.redraw(folder, tmp_path / "drawn")
    assert undrawn == []
    assert all(path.is_file() for path in drawn)
    shown, own = pictures(tmp_path / "drawn"), pictures(results_of(finished))
    own.pop("model_card.html")  # of one run's card and checksums, not of tables
    assert set(shown) == set(own)
    assert [name for name in own if shown[name] != own[name]] == []


@pytest.mark.workflow
def test_only_tables_and_cards_are_kept_and_say_what_they_are_of(tiny):
    folder, finished = tiny
    names = set(contents(folder))
    assert {Path(name).suffix for name in names} == {".csv", ".json", ".yaml"}
    assert "splits/class_counts.csv" in names
    assert not [name for name in names if name.endswith("assignments.csv")]
    card = json.loads((folder / "card.json").read_text())
    summary = pd.read_csv(results_of(finished) / "summary.csv")
    assert card["devices"] == sorted(summary["device"].unique())
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", card["date"])
    assert set(card["files_sha256"]) == names - {"card.json"}
    for name in ("summary.csv", "answer.csv"):
        assert (folder / name).read_bytes() == (results_of(finished) / name).read_bytes()


@pytest.mark.workflow
def test_what_is_too_large_is_left_out_whole_and_told(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "MOST_BYTES", 300_000)
    card = kept.keep(finished / "study.yaml", results_of(finished), tmp_path)
    folder = tmp_path / "tiny"
    files = contents(folder)
    assert sum(map(len, files.values())) <= 300_000
    left_out = card["left_out"]
    assert "predictions" in left_out
    assert left_out["predictions"]["bytes"] > 0
    assert not [name for name in files if name.endswith("predictions.csv")], "of no run"
    drawn, undrawn = kept.redraw(folder, tmp_path / "drawn")
    assert undrawn == card["figures_left_out"]
    assert {"confusion", "reliability"} <= set(undrawn)
    assert not [path for path in drawn if path.name.startswith(tuple(undrawn))]
    own = (results_of(finished) / "summary.html").read_text()
    page = (tmp_path / "drawn" / "summary.html").read_text()
    assert "won : lost" in own and "won : lost" not in page, "which compares single images"


@pytest.mark.workflow
def test_a_run_writes_nothing_where_results_are_kept(tiny, copied):
    folder, _ = tiny
    home = copied / "results" / "reference" / "tiny"
    shutil.copytree(folder, home)
    before = contents(home)
    run(copied, *TINY, "--forcerun", "summarize")
    assert contents(home) == before
    words = refused(copied, *TINY, "--config", "study=reference")
    assert "results/reference holds the results that are kept" in words


def test_no_study_is_called_as_the_folder_of_what_is_kept():
    config = read_yaml(ROOT / "config" / "config.yaml") | {"study": "reference"}
    with pytest.raises(
        ConfigError, match=r"^study: results/reference holds .*; choose another name"
    ):
        load_study(config)


@pytest.mark.workflow
def test_keeping_again_replaces_what_was_kept(tiny, tmp_path):
    folder, finished = tiny
    before = contents(folder)
    (folder / "old.csv").write_text("a\n")
    kept.keep(finished / "study.yaml", results_of(finished), tmp_path / "kept")
    assert contents(folder) == before
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["tiny"]


@pytest.mark.workflow
def test_a_study_that_is_not_finished_is_not_kept(copied, tmp_path):
    (results_of(copied) / "summary.csv").unlink()
    with pytest.raises(DataError, match=r"summary\.csv: no such file; run the study to its end"):
        kept.keep(copied / "study.yaml", results_of(copied), tmp_path / "kept")
    assert not (tmp_path / "kept" / "tiny").exists()


@pytest.mark.workflow
def test_the_commands_keep_and_redraw(copied, monkeypatch):
    monkeypatch.chdir(copied)
    done = CliRunner().invoke(frugalvit, ["keep", "study.yaml"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("results/reference/tiny: ")
    drawn = CliRunner().invoke(frugalvit, ["redraw", "tiny"])
    assert drawn.exit_code == 0, drawn.output
    shown = pictures(copied / "results" / "reference" / "tiny")
    assert drawn.output.startswith(f"{2 * len(shown) - pages(shown)} files drawn in results/")
    other = CliRunner().invoke(frugalvit, ["redraw", "another"])
    assert "no results are kept there; there are tiny" in str(other.exception)


def pages(shown: dict[str, bytes]) -> int:
    """Of which there is one format, where pictures have two."""
    return sum(name.endswith(".html") for name in shown)


def test_a_file_that_was_edited_is_not_drawn(tmp_path):
    folder = tmp_path / "digits"
    shutil.copytree(ROOT / "results" / "reference" / "digits", folder)
    table = folder / "summary.csv"
    table.write_text(table.read_text().replace("0.9", "0.99"))
    with pytest.raises(DataError, match=r"summary\.csv: not the file that card\.json names"):
        kept.redraw(folder, tmp_path / "drawn")


@pytest.mark.parametrize("card", REFERENCES, ids=lambda card: card.parent.name)
def test_what_the_repository_keeps_is_whole_small_and_drawn_from(card, tmp_path):
    folder = card.parent
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z", "."],
        cwd=folder, capture_output=True, text=True, check=True,
    ).stdout.split("\0")[:-1]  # fmt: skip
    told = kept.check(folder)
    assert set(listed) == {*told["files_sha256"], "card.json"}, "pages and pictures are ignored"
    assert sum((folder / name).stat().st_size for name in listed) <= kept.MOST_BYTES
    assert (
        told["study"] == folder.name == yaml.safe_load((folder / kept.STUDY).read_text())["study"]
    )
    assert told["devices"] and told["date"]
    drawn, undrawn = kept.redraw(folder, tmp_path)
    # A figure that is newer than what was kept may want a table that there was none of.
    assert set(told["figures_left_out"]) <= set(undrawn)
    assert {"schedules.svg", "summary.html", "answer.html"} <= {path.name for path in drawn}


def test_the_embedded_study_is_kept():
    assert "digits" in [card.parent.name for card in REFERENCES]
