"""The report opens in a browser, holds every figure, and each is drawn."""

import base64
import html
import io
import json
import re
import shutil
import subprocess
import urllib.parse

import numpy as np
import pytest
from PIL import Image

from tests.workflows import run

pytestmark = pytest.mark.workflow
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars",
]  # fmt: skip

# Writes into the page where the first text and the menu are.
MEASURE = """<script>setTimeout(() => {
  const box = (name) => document.querySelector(name).getBoundingClientRect();
  const [text, menu] = [box(".prose"), box("nav")];
  document.body.dataset.places = [text.left, text.top, text.right, menu.right, menu.bottom, innerWidth];
}, 3000)</script>"""


@pytest.fixture(scope="module")
def report(finished, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    run(finished, "--configfile", "study.yaml", "--cores", "2", "--report", str(path))
    return path


@pytest.fixture
def browser(tmp_path):
    """Run headless Chromium on a page."""
    name = next(filter(shutil.which, ("chromium", "chromium-browser", "google-chrome")), None)
    if not name:
        pytest.skip("no Chromium on this machine: the report cannot be opened")

    def open_page(page, *flags):
        profile = f"--user-data-dir={tmp_path / 'profile'}"
        done = subprocess.run(
            [name, *FLAGS, profile, "--virtual-time-budget=10000", *flags, page.as_uri()],
            capture_output=True, timeout=120, check=True,
        )  # fmt: skip
        return done.stdout.decode()

    return open_page


def results_in(report):
    """What the report embeds: path -> description, caption and data address."""
    text = report.read_text()
    start = text.index('var results = {"results/') + len("var results = ")
    return json.JSONDecoder().raw_decode(text[start:])[0]


def content_of(result) -> bytes:
    header, data = result["data_uri"].split(",", 1)
    return base64.b64decode(data) if "base64" in header else urllib.parse.unquote(data).encode()


def test_the_report_needs_no_other_file_and_has_every_figure(report, finished):
    results = results_in(report)
    figures = {
        path.relative_to(finished).as_posix()
        for path in (finished / "results" / "tiny").glob("figures/*.svg")
    }
    assert figures <= set(results)
    assert "results/tiny/summary.html" in results
    for name, result in results.items():
        assert result["caption"].strip(), f"{name} has no caption"
    assert "results/tiny/tokens.html" in results
    expected = {"Comparison", "Data", "Experiments", "Grid search", "Adaptive tokens"}
    assert set(re.findall(f'"({"|".join(expected)})"', report.read_text())) == expected
    text = re.sub(r"(?s)<script.*?</script>", "", report.read_text())
    assert not re.findall(r'(?:src|href)="https?://', text)


def test_the_report_opens_in_a_browser(report, browser):
    page = browser(report, "--dump-dom")
    shown = html.unescape(re.sub(r"(?s)<script.*?</script>|<style.*?</style>|<[^>]+>", " ", page))
    for words in ("How to read this report", "Comparison", "Experiments", "Grid search", "Data"):
        assert words in shown
    assert "Adaptive tokens" in shown


@pytest.mark.parametrize("size", ["1280,800", "500,800"])
def test_the_first_text_is_neither_cut_nor_covered(report, browser, tmp_path, size):
    page = tmp_path / "measured.html"
    before, after = report.read_text().rsplit("</body>", 1)
    page.write_text(f"{before}{MEASURE}</body>{after}")
    shown = browser(page, "--dump-dom", f"--window-size={size}")
    places = re.search(r'data-places="([^"]+)"', shown)[1].split(",")
    left, top, right, menu_right, menu_bottom, width = map(float, places)
    assert top >= 0 and left >= 0, "what lies above or left of the window cannot be scrolled to"
    assert left >= menu_right or top >= menu_bottom, "the menu covers the text"
    assert right <= width


def test_every_figure_of_the_report_is_drawn(report, browser, tmp_path):
    figures = {name: r for name, r in results_in(report).items() if name.endswith(".svg")}
    assert len(figures) > 10
    # All on one page, each cut off at its cell: a browser takes seconds to start.
    width, height, columns = 840, 900, 5
    cells = {
        name: (number // columns * height, number % columns * width)
        for number, name in enumerate(figures)
    }
    page, picture = tmp_path / "figures.html", tmp_path / "figures.png"
    page.write_text("".join(map(cell_of, figures.values(), cells.values())))
    whole = f"{columns * width},{(max(top for top, _ in cells.values()) + height)}"
    browser(page, f"--screenshot={picture}", f"--window-size={whole}")
    pixels = np.asarray(Image.open(io.BytesIO(picture.read_bytes())).convert("L"))
    for name, (top, left) in cells.items():
        own = pixels[top : top + height, left : left + width]
        assert own.shape == (height, width)
        assert (own < 128).mean() > 0.003, f"{name} is blank in the browser"


def cell_of(result, place) -> str:
    """A figure of the report at its place on the page."""
    image = base64.b64encode(content_of(result)).decode()
    where = f"position:absolute;top:{place[0]}px;left:{place[1]}px;width:840px;height:900px"
    return (
        f"<div style='{where};overflow:hidden'>"
        f"<img style='width:800px' src='data:image/svg+xml;base64,{image}'></div>"
    )
