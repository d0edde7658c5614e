"""A long job says how far it is; a short one says nothing."""

import pytest

from frugalvit.data.prepare import prepare
from frugalvit.jobs import progress
from frugalvit.jobs.progress import Progress
from tests.imagefolders import settings, write_folder


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until a test moves it."""
    time = [100.0]
    monkeypatch.setattr("tqdm.std.time", lambda: time[0])

    def move(seconds):
        time[0] += seconds

    return move


@pytest.fixture
def said(caplog):
    caplog.set_level("INFO")
    return caplog


def run(clock, seconds, steps, *arguments, size=100, **options):
    with Progress(*arguments, **options) as shown:
        for _ in range(steps):
            clock(seconds)
            shown.advance(size)


def test_a_line_every_ten_seconds_with_the_time_left(clock, said):
    run(clock, 4, 30, "extract plain", 3000, "images")
    # Steps of 4 s: the line comes with the first step after ten seconds, and so on.
    assert said.messages[0] == "extract plain: 300 of 3,000 images, 01:48 left"
    assert said.messages[5] == "extract plain: 1,800 of 3,000 images, 00:48 left"
    assert len(said.messages) == 10
    assert said.messages[-1] == "extract plain: 3,000 images in 02:00"


def test_short_work_says_nothing(clock, said):
    run(clock, 0.3, 30, "extract plain", 3000, "images")
    run(clock, 10, 1, "train", 100, "images")  # done with its first step
    assert said.messages == []


def test_what_fails_does_not_say_that_it_is_done(clock, said):
    with pytest.raises(ZeroDivisionError), Progress("decode", 10, "images") as shown:
        clock(20)
        shown.advance(1)
        raise ZeroDivisionError
    assert said.messages == ["decode: 1 of 10 images, 03:00 left"]


def test_a_continued_download_counts_what_this_try_brought(clock, said):
    run(clock, 10, 2, "download a", 400_000_000, "B", initial=200_000_000, size=50_000_000)
    run(clock, 10, 1, "download b", None, "B", size=5_000_000)
    assert said.messages == [
        "download a: 250 of 400 MB, 00:30 left",
        "download a: 300 of 400 MB, 00:20 left",
        "download a: 300 MB in 00:20",
        "download b: 5 MB",
        "download b: 5 MB in 00:10",
    ]


def test_one_process_of_several_speaks(clock, said):
    run(clock, 10, 20, "extract plain", 3000, "images", enabled=False)
    assert said.messages == []


def test_decoding_says_how_far_it_is(tmp_path, monkeypatch, said):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    root = write_folder(tmp_path / "in", {"train/a": 60, "train/b": 60})
    prepare(settings(path=str(root)), tmp_path / "raw", tmp_path / "store")
    lines = [line for line in said.messages if line.startswith("decode tiny: ")]
    assert lines[0].startswith("decode tiny: 32 of 120 images, ")
    assert lines[-1].startswith("decode tiny: 120 images in ")
