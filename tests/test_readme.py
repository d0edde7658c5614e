"""README and docs: links lead somewhere; README's table and picture come from kept results."""

import re
import tomllib
from pathlib import Path

import jsonschema
import pandas as pd
import pytest
import yaml

from frugalvit.config.reading import read_yaml
from frugalvit.errors import DataError
from frugalvit.figures import readme, style
from frugalvit.files import write_json
from tests import token_tables as made
from tests.workflows import ROOT

PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / folder / "README.md" for folder in ("config", "results")),
    ]
)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
MOST_LINES = 120


def anchors(page: Path) -> set[str]:
    """Anchors that a page's headings get on the usual hosts."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    found: set[str] = set()
    for heading in re.findall(r"(?m)^#+ (.+)$", text):
        words = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.add(words)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for link in LINK.findall(text):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.is_relative_to(ROOT), link
        assert target.exists(), f"{link}: no such file"
        assert not anchor or anchor in anchors(target), f"{link}: no such heading"


def test_every_page_of_docs_is_reached_from_the_readme():
    text = (ROOT / "README.md").read_text()
    missing = [
        page.name for page in (ROOT / "docs").glob("*.md") if f"](docs/{page.name})" not in text
    ]
    assert missing == []


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= MOST_LINES


def test_every_test_that_reliability_names_is_there():
    page = (ROOT / "docs" / "reliability.md").read_text()
    missing, rows = [], [line for line in page.splitlines() if line.startswith("| ")]
    for row in rows:
        file = None
        for cited in re.findall(r"`(\w*)::(test_\w+)`", row):
            file = cited[0] or file
            source = ROOT / "tests" / f"{file}.py"
            if not source.is_file() or f"def {cited[1]}(" not in source.read_text():
                missing.append("::".join((file or "", cited[1])))
    assert missing == []
    heads = ("| fault or input", "| drawn at random")
    told = [row for row in rows if "---" not in row and not row.startswith(heads)]
    assert len(told) > 40
    # By its last column, for an earlier one may speak of a test too.
    named = re.compile(r"`\w*::test_\w+`|`test_\w+_properties`|`make [\w-]+")
    assert [row for row in told if not named.search(row.rsplit(" | ", 1)[-1])] == []


def test_reliability_tells_how_many_examples_are_tried():
    page = (ROOT / "docs" / "reliability.md").read_text()
    told = {file: number for number, file in re.findall(r"\| ([\d,]+) \| `(\w+)` \|", page)}
    tried = {}
    for path in (ROOT / "tests").glob("test_*_properties.py"):
        numbers = re.findall(r"(?m)^@examples\((\d+)\)", path.read_text())
        tried[path.stem] = f"{sum(map(int, numbers)):,}"
    assert told == tried


def test_every_dependency_says_why_it_is_there():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"].values()
    needs = [*project["dependencies"], *(need for group in optional for need in group)]
    told = set(re.findall(r"\*\*([\w-]+)\*\*", (ROOT / "docs" / "dependencies.md").read_text()))
    assert {re.split(r"[<>=!~ \[]", need, maxsplit=1)[0] for need in needs} == told


def test_the_citation_has_what_its_format_requires():
    """A part of the schema of the Citation File Format 1.2.0."""
    text = {"type": "string", "minLength": 1}
    entity = {"type": "object", "required": ["name"], "properties": {"name": text}}
    schema = {
        "required": ["authors", "cff-version", "message", "title"],
        "additionalProperties": False,
        "properties": {
            **dict.fromkeys(("message", "title", "abstract", "license", "version"), text),
            "cff-version": {"const": "1.2.0"},
            "type": {"enum": ["software", "dataset"]},
            "authors": {"type": "array", "minItems": 1, "uniqueItems": True, "items": entity},
            "keywords": {"type": "array", "minItems": 1, "uniqueItems": True, "items": text},
        },
    }
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    jsonschema.validate(citation, schema)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    owner = re.search(r"Copyright \(c\) \d+ (.+)", (ROOT / "LICENSE").read_text())
    assert [author["name"] for author in citation["authors"]] == [owner[1]]


EXPERIMENTS = {
    "plain": {"schedule": [{"train": "head", "epochs": 2}, {"train": {"blocks": 2}, "epochs": 1}]},
    "first_four": {"keep_blocks": 4, "schedule": [{"train": "all", "epochs": 1}]},
    "early_exit": {
        "method": "early_exit",
        "from": "plain",
        "schedule": [{"train": "exits", "epochs": 1}],
    },
    "merging": {"method": "token_merging", "from": "plain", "r": [2]},
}


@pytest.fixture
def finished(tmp_path):
    """A study's file and its results, made up."""
    kept = {"plain": None, "first_four": 4}
    points, summary, costs = made.study(kept, ["early_exit", "merging"], 2, True, made.Model())
    folder = tmp_path / "results"
    folder.mkdir()
    points.to_csv(folder / "operating_points.csv", index=False)
    summary.assign(train_seconds=12.0).to_csv(folder / "summary.csv", index=False)
    for run, table in costs.groupby("run"):
        (folder / "runs" / run).mkdir(parents=True)
        table.drop(columns="run").to_csv(folder / "runs" / run / "cost.csv", index=False)
    study = read_yaml(ROOT / "config" / "config.yaml") | {"study": "made_up", "seeds": [0, 1]}
    study["experiments"] = {
        name: {"method": "fine_tune"} | one for name, one in EXPERIMENTS.items()
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    write_json(folder / "card.json", {"files_sha256": {}})
    page = tmp_path / "README.md"
    page.write_text("before\n<!-- results: made_up -->\nold\n<!-- end of results -->\nafter\n")
    return tmp_path


def rows_of(page: str) -> dict[str, list[str]]:
    lines = [line for line in page.splitlines() if line.startswith("| ")][2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {first: others for first, *others in cells}


def make(folder: Path, picture: str = "made_up.svg") -> str:
    page = folder / "README.md"
    readme.write(folder / "results", page, folder / picture)
    return page.read_text()


def test_the_table_is_that_of_the_csv_files(finished):
    page = make(finished)
    assert page.startswith("before\n") and page.endswith("\nafter\n") and "old" not in page
    rows = rows_of(page)
    assert set(rows) == set(EXPERIMENTS)
    summary = pd.read_csv(finished / "results" / "summary.csv")
    test = summary[summary["split"] == "test"].groupby("experiment")["accuracy"]
    spread = f"{test.mean()['plain'] * 100:.1f} ± {test.std()['plain'] * 100:.1f}"
    assert rows["plain"][:4] == [
        "trains head (2 epochs), then last 2 blocks (1 epoch)",
        spread,
        style.DASH,  # it starts from the base
        "100",
    ]
    chosen = summary[
        (summary["split"] == "test") & summary["experiment"].isin(["plain", "merging"])
    ]
    by_seed = chosen.pivot_table(index="seed", columns="experiment", values="accuracy") * 100
    lost = by_seed["merging"] - by_seed["plain"]
    assert rows["merging"][2].split(" ± ")[0] == f"{lost.mean():+.1f}".replace("-", readme.MINUS)
    assert rows["first_four"][0].endswith("; only the first 4 blocks")
    assert rows["merging"][0].endswith("from plain: trains nothing")
    assert rows["merging"][5].startswith("12") and rows["plain"][5].startswith("12")
    accuracies = [float(row[1].split()[0]) for row in rows.values()]
    assert accuracies == sorted(accuracies, reverse=True), "the best comes first"


def test_the_picture_is_the_same_each_time(finished):
    make(finished)
    first = (finished / "made_up.svg").read_bytes()
    make(finished)
    assert (finished / "made_up.svg").read_bytes() == first
    assert len(first) < 200_000


def test_the_readme_is_that_of_the_results_kept(tmp_path):
    """`make readme` changes nothing: table to the letter, the picture's words too."""
    page, picture = tmp_path / "README.md", tmp_path / "digits.svg"
    page.write_text((ROOT / "README.md").read_text())
    readme.write(ROOT / "results" / "reference" / "digits", page, picture)
    assert page.read_text() == (ROOT / "README.md").read_text()
    words = re.compile("<!-- (.+?) -->")  # beside the outlines of each text
    shipped = words.findall((ROOT / "docs" / "pictures" / "digits.svg").read_text())
    assert len(shipped) > 20
    assert words.findall(picture.read_text()) == shipped


def test_a_page_without_the_studys_block_is_a_mistake_of_one_line(finished):
    (finished / "README.md").write_text("<!-- results: another -->\n<!-- end of results -->\n")
    with pytest.raises(DataError, match="no block `<!-- results: made_up -->`"):
        make(finished)


def test_a_docstring_stands_by_itself():
    """Whoever hovers over a name sees one docstring: what it needs stands in it."""
    elsewhere = re.compile(r"\b(as|see) above\b|\blikewise\b|\bditto\b", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in sorted((ROOT / "workflow").rglob("*.py"))
        for line in path.read_text().splitlines()
        if elsewhere.search(line)
    ]
    assert found == []
