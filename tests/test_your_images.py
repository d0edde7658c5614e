"""A newcomer's own photos: the shipped study with its lines edited, and what few images cannot show."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from frugalvit.chance import few_images, interval, interval_text, sign_test
from frugalvit.config.lines import located
from frugalvit.config.schema import validate
from frugalvit.config.study import load_study
from frugalvit.data.checks import check
from frugalvit.data.prepare import prepare
from frugalvit.data.splits import assign, require_classes
from frugalvit.data.store import Store
from frugalvit.errors import ConfigError, DataError
from frugalvit.figures import checks_table, confusion, paired, pareto, reliability, results_table
from tests.imagefolders import noise, write_folder, write_image
from tests.workflows import ROOT, copy_workflow, run, snakemake

SHIPPED = "config/studies/your_images.yaml"
BASE = """base:
  source: random
  image_size: 32
  architecture: {patch_size: 16, num_layers: 9, num_heads: 2, hidden_dim: 16, mlp_dim: 16}
"""
QUICK = (
    "seeds=[0]",
    "evaluation={measure_seconds: 0.05, measure_images: 4}",
    "compute={threads: 1}",
)


def edited(photos: Path) -> str:
    """The shipped file as its user edits it, with a base that is quick."""
    text = (ROOT / SHIPPED).read_text()
    text, paths = re.subn(r"(?m)^  path: .*$", f"  path: {photos}", text)
    text, bases = re.subn(r"(?m)^base: .*\n", BASE, text)
    assert (paths, bases) == (1, 1), "the lines to edit are no longer where they were"
    return text


def examined(photos: Path, folder: Path, **splits) -> dict:
    """What the workflow's first steps say of a folder of photos."""
    config = yaml.safe_load(edited(photos))
    config["splits"] |= splits
    config["dataset"] |= {"resize": 32}
    study = load_study(config)
    prepare(study.datasets[study.dataset], folder / "raw", folder / "store")
    store = Store(folder / "store")
    require_classes(store.index)
    settings = study.split_sets["splits"]
    return check(store.index, assign(store.index, settings), settings)


@pytest.fixture
def clone(tmp_path) -> Path:
    folder = tmp_path / "clone"
    folder.mkdir()
    return copy_workflow(folder)


@pytest.mark.workflow
def test_the_edited_file_runs_to_a_report_that_tells_what_it_cannot_show(clone, tmp_path):
    photos = write_folder(tmp_path / "photos", {"rote Rose": 14, "Gänseblümchen": 13, "lotus": 13})
    (clone / SHIPPED).write_text(edited(photos))
    call = ("--configfile", SHIPPED, "--cores", "2", "--resources", "gpu=0", "--config", *QUICK)
    words = run(clone, *call)
    assert "24 6 10" in words
    assert "10 test images: one is 10 points of accuracy" in words
    assert "6 validation images: one is 16.7 points" in words
    results = clone / "results" / "your_images"
    [card] = (results / "features").glob("views-*/card.json")
    images = json.loads(card.read_text())["images"]
    assert images == {"train": 24, "valid": 0, "test": 0}, "what trains alone has augmented views"
    summary = pd.read_csv(results / "summary.csv")
    tested = summary[summary["split"] == "test"].set_index("experiment")
    assert {"frozen", "fine_tuned", "first_eight", "merged"} <= set(tested.index)
    assert tested["n"].eq(10).all()
    page = (results / "summary.html").read_text()
    assert interval_text(tested["accuracy"].max(), 10) in page
    assert "one is 10 points of accuracy" in page
    assert "Gänseblümchen" in (results / "splits" / "checks.html").read_text()
    report = tmp_path / "report.html"
    run(clone, *call, "--report", str(report))
    assert "Few images: what these numbers cannot show" in report.read_text()


@pytest.mark.workflow
def test_the_unedited_file_is_one_line_that_says_where_to_edit(clone):
    done = snakemake(clone, "--configfile", SHIPPED, "--cores", "1", "--dry-run")
    lines = (clone / SHIPPED).read_text().splitlines()
    number = next(n for n, line in enumerate(lines, 1) if line.startswith("  path:"))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    said = [line for line in done.stderr.splitlines() if "dataset.path" in line]
    assert said == [
        "error in the configuration: dataset.path: no folder 'path/to/your/photos'; correct the path "
        f"(line {number} of {SHIPPED})"
    ]


def test_the_shipped_file_is_short():
    lines = (ROOT / SHIPPED).read_text().splitlines()
    assert len([line for line in lines if line.strip() and not line.lstrip().startswith("#")]) < 20


@pytest.mark.parametrize(
    ("key", "overrides", "expected"),
    [
        ("dataset.path", {}, "(line 4 of study.yaml)"),
        ("dataset.crop", {}, "(line 2 of study.yaml)"),  # not there: the block it belongs in
        ("experiments.a.schedule[1].lr", {}, "(line 8 of study.yaml)"),
        ("experiments.a.schedule[5].lr", {}, "(line 6 of study.yaml)"),
        ("dataset.path", {"dataset": {"path": "x"}}, ""),  # the command line set it
        ("mirror", {}, ""),
    ],
)
def test_an_error_names_the_line_of_its_key(tmp_path, monkeypatch, key, overrides, expected):
    monkeypatch.chdir(tmp_path)
    text = "study: s\ndataset:\n  source: folder\n  path: x\nexperiments:\n  a: {schedule: [\n"
    Path("study.yaml").write_text(text + "    {train: head, lr: 1},\n    {train: all, lr: 0}]}\n")
    said = located(ConfigError(f"{key}: wrong; mend it"), ["study.yaml"], overrides)
    assert said == f"{key}: wrong; mend it {expected}".strip()


def odd_files(root: Path) -> None:
    """What lies among people's photos."""
    write_folder(root, {"rose": 6, "water lily": 8})
    for junk in (".DS_Store", "rose/.DS_Store", "README.md", "rose/Thumbs.db", "rose/notes.txt"):
        (root / junk).write_text("no image")
    write_image(root / "__MACOSX" / "rose" / "._a.png")
    image = Image.fromarray(noise(99))
    image.save(root / "rose" / "UPPER.JPG")
    transparent = image.convert("RGBA")
    transparent.putalpha(100)
    transparent.save(root / "rose" / "alpha.PNG")
    exif = Image.Exif()
    exif[0x112] = 6  # lies on its side
    image.save(root / "rose" / "turned.jpg", exif=exif)


LAYOUTS = {
    "classes": ({"rose": 14, "lily": 13, "iris": 13}, {}, "24 6 10"),
    "with a test folder": (
        {"train/rose": 8, "train/lily": 8, "test/rose": 4, "test/lily": 4}, {}, "13 3 8"
    ),
    "three folders": (
        {"Train/rose": 8, "Train/lily": 8, "val/rose": 2, "val/lily": 2, "test/rose": 4,
         "test/lily": 4}, {"mode": "official"}, "16 4 8",
    ),
    "spaces and umlauts": ({"Gänseblümchen weiß": 8, "rote Rose": 8, "百合": 8}, {}, "14 4 6"),
    "a class of one, not stratified": (
        {"rose": 14, "lily": 13, "iris": 1}, {"stratify": False}, "17 4 7"
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_that_work(tmp_path, layout):
    counts, splits, sizes = LAYOUTS[layout]
    report = examined(write_folder(tmp_path / "photos", counts), tmp_path, **splits)
    assert report["lines"][0] == sizes
    assert not report["checks"]["small_splits"]["passed"]


def test_odd_files_among_the_photos(tmp_path):
    odd_files(tmp_path / "photos")
    report = examined(tmp_path / "photos", tmp_path)
    assert sum(report["sizes"].values()) == 17
    assert sum(counts["rose"] for counts in report["class_counts"].values()) == 9


def test_validation_images_that_are_left_out_are_told(tmp_path):
    counts = {f"{split}/{name}": 6 for split in ("train", "valid", "test") for name in "ab"}
    report = examined(write_folder(tmp_path / "photos", counts), tmp_path)
    assert report["lines"][1].startswith("12 validation images of the source are left out")


REFUSED = {
    "no images": ({}, "no images found; expected <class>/<image>"),
    "one class": ({"rose": 14}, r"fewer than two classes \(rose\).* one level too high"),
    "one level too high": (
        {"photos/rose": 9, "photos/lily": 9},
        r"fewer than two classes \(photos",
    ),
    "a class of one": ({"rose": 14, "lily": 13, "iris": 1}, "class 'iris' has 1 .* add images"),
    "a class of two": ({"rose": 14, "lily": 13, "iris": 2}, r"'iris' has 1 .* left .*\(three are"),
    "one image a class": ({"rose": 1, "lily": 1}, "splits.test_fraction: 2 .* add images"),
    "two images a class": ({"rose": 2, "lily": 2}, "splits.test_fraction: .* add images"),
    "three images a class": ({"rose": 3, "lily": 3}, "splits.fraction: .* add images"),
}


@pytest.mark.parametrize("layout", REFUSED)
def test_layouts_that_are_refused_in_one_line(tmp_path, layout):
    counts, message = REFUSED[layout]
    photos = write_folder(tmp_path / "photos", counts)
    photos.mkdir(exist_ok=True)
    with pytest.raises((ConfigError, DataError), match=message) as caught:
        examined(photos, tmp_path)
    assert "\n" not in str(caught.value)


def split_of(**counts: list[int]) -> dict:
    """The check's entry for splits with so many images of each class."""
    rows = [
        [f"{split}-{number:04d}-{label}", split, label, f"class {label}"]
        for split, numbers in counts.items()
        for label, n in enumerate(numbers)
        for number in range(n)
    ]
    assignments = pd.DataFrame(rows, columns=["id", "split", "label", "class_name"])
    index = assignments[["id"]].assign(file="x", sha256=assignments["id"], group="")
    config = yaml.safe_load((ROOT / SHIPPED).read_text())
    settings = validate(config)["splits"]
    return check(index, assignments, settings)["checks"]["small_splits"]


def test_enough_images_are_not_called_few():
    entry = split_of(train=[25, 25], valid=[25, 25], test=[50, 50])
    assert entry["passed"], entry["what"]
    assert not split_of(train=[25, 25], valid=[25, 25], test=[50, 49])["passed"]
    assert not split_of(train=[25, 24], valid=[25, 25], test=[50, 50])["passed"]


def test_few_images_of_a_split_and_of_a_class_are_named():
    entry = split_of(train=[100, 4], valid=[3, 0], test=[90, 20])
    assert entry["found"] == [
        {"split": "valid", "images": 3},
        {"split": "train", "class": "class 1", "images": 4},
    ]
    assert "3 validation images: one is 33.3 points" in entry["what"]
    assert "4 of 'class 1': too few to learn from" in entry["what"]


@pytest.mark.parametrize(("hits", "n"), [(8, 10), (8, 8), (0, 8), (1379, 1500)])
def test_intervals_are_wilsons(hits, n):
    stats = pytest.importorskip("scipy.stats")
    expected = stats.binomtest(hits, n).proportion_ci(method="wilson")
    assert interval(hits / n, n) == pytest.approx((expected.low, expected.high))


def test_intervals_in_words():
    assert interval_text(0.8, 10) == "49 to 94"
    assert interval_text(1.0, 8) == "68 to 100"
    assert interval_text(0.919, 1500) == "90.4 to 93.2"


def test_sign_test_against_scipy():
    stats = pytest.importorskip("scipy.stats")
    for won, lost in [(6, 0), (5, 0), (0, 0), (3, 1), (40, 12), (7, 7), (1, 9)]:
        p = stats.binomtest(won, won + lost).pvalue if won + lost else 1.0
        assert sign_test(won, lost) == pytest.approx(p)
    assert sign_test(6, 0) < 0.05 < sign_test(5, 0)


def test_what_test_images_cannot_show():
    assert "49 to 94 %" in few_images("test", 10)
    assert "fewer than 6 images (60 points) are not told apart" in few_images("test", 10)
    assert "no difference between two experiments can be shown" in few_images("test", 5)
    assert few_images("test", 100) == few_images("valid", 50) == few_images("valid", 0) == ""


def table_of(accuracies: dict[str, list[float]], n: int) -> pd.DataFrame:
    rows = [
        {
            "study": "s", "experiment": name, "run": f"{name}-s{seed}", "method": "fine_tune",
            "seed": seed, "split": "test", "n": n, "accuracy": value, "macro_f1": value,
            "loss": 1.0, "ece": 0.1, "gflops": 1.0, "latency_ms": 1.0, "images_per_s": 1.0,
            "params_m": 1.0, "train_seconds": 1.0, "device": "cpu", "selected": None,
        }
        for name, values in accuracies.items()
        for seed, value in enumerate(values)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def predictions_of(right: dict[str, list[int]]) -> pd.DataFrame:
    """Runs and whether they got each of their test images right."""
    return pd.DataFrame(
        {"run": run, "id": f"test-{image}", "split": "test", "label": 1, "predicted": hit}
        for run, hits in right.items()
        for image, hit in enumerate(hits)
    )


def test_experiments_are_compared_image_by_image():
    answers = predictions_of(
        {
            "a-s0": [1, 1, 1, 1, 1, 1, 1, 0], "a-s1": [1, 1, 1, 1, 1, 1, 0, 0],
            "b-s0": [0, 0, 0, 0, 0, 0, 0, 1], "b-s1": [0, 0, 0, 0, 0, 0, 1, 1],
        }
    )  # fmt: skip
    right = paired.correctness(answers, "test")
    a, b = ({seed: f"{name}-s{seed}" for seed in (0, 1)} for name in "ab")
    # One seed each way on the last but one: no difference.
    assert paired.won_and_lost(right, a, b) == (6, 1)
    assert paired.won_and_lost(right, {0: "a-s0"}, b) == (7, 1)
    assert paired.won_and_lost(right, {2: "a-s2"}, b) is None
    others = pd.concat([answers, predictions_of({"c-s0": [1, 1]})])
    assert paired.won_and_lost(paired.correctness(others, "test"), a, {0: "c-s0"}) is None


def test_the_results_table_has_intervals_and_pairs():
    table = table_of({"good": [0.8], "bad": [0.2]}, 10)
    page = results_table.draw(table, None)
    assert "<td>49 to 94</td>" in page
    assert "10 test images: one is 10 points" in page
    assert "won : lost" not in page
    answers = predictions_of({"good-s0": [1] * 8 + [0] * 2, "bad-s0": [0] * 8 + [1] * 2})
    page = results_table.draw(table, None, predictions=answers)
    assert "<td>2 : 8 (p 0.11)</td>" in page
    large = results_table.draw(table_of({"good": [0.8]}, 1000), None)
    assert "<td>77.4 to 82.4</td>" in large
    assert "points of accuracy" not in large


def test_the_checks_page_marks_what_the_first_page_repeats():
    row = ["small_splits", "warn", False, 2, "3 test images: <few> | 2 of 'a&b': few"]
    page = checks_table.draw(pd.DataFrame([row], columns=checks_table.COLUMNS), "study", "splits")
    assert page.split(checks_table.FEW)[1] == (
        "&bull; 3 test images: &lt;few&gt;<br>&bull; 2 of &#x27;a&amp;b&#x27;: few"
    )
    assert checks_table.FEW in (ROOT / "workflow" / "report" / "workflow.rst").read_text()


def test_of_few_images_several_experiments_are_best():
    page = results_table.draw(table_of({"a": [0.4], "b": [0.4], "c": [0.3]}, 10), None)
    assert page.count("class='best'") == 2


def test_an_axis_of_few_images_is_no_finer_than_one_image():
    same = pd.DataFrame({"accuracy": [0.4, 0.4]})
    low, high = pareto.accuracy_limits(same, 10)
    assert high - low > 10
    low, high = pareto.accuracy_limits(same, 10_000)
    assert high - low < 2


def test_a_calibration_error_that_few_images_show_by_chance():
    sure = np.random.default_rng(0).uniform(0.5, 1, 5000)
    assert reliability.chance_error(sure) < 0.02
    assert 0.1 < reliability.chance_error(sure[:10]) < 0.4
    assert reliability.chance_error(np.ones(10)) == 0


def test_a_confusion_matrix_of_few_images_counts_them():
    few, many = np.array([[2, 1], [0, 30]]), np.array([[20, 5], [0, 30]])
    assert confusion.shows_counts(few)
    assert not confusion.shows_counts(many)
    assert not confusion.shows_counts(np.eye(12, dtype=int))
    rows = [(label, label if hit else 1 - label) for label in (0, 1) for hit in (1, 1, 0)]
    answers = pd.DataFrame(rows, columns=["label", "predicted"])
    answers = answers.assign(
        id=[f"test-{n}" for n in range(6)], split="test", run="a-s0", seed=0, probability=0.9
    )
    names = {"study": "s", "experiment": "a", "device": "cpu", "width_mm": 170}
    figure = confusion.draw(answers, ["x", "y"], **names)
    assert "2/3" in {text.get_text() for axes in figure.axes for text in axes.texts}
    assert "(30 to 90 % on others like them)" in " ".join(text.get_text() for text in figure.texts)


def test_training_and_testing_are_folders_of_splits(tmp_path):
    counts = {f"{split}/{name}": 8 for split in ("Training", "testing") for name in "ab"}
    report = examined(write_folder(tmp_path / "photos", counts), tmp_path)
    assert report["lines"][0] == "13 3 16"


def test_images_and_folders_that_count_nowhere_are_told(tmp_path, caplog):
    photos = write_folder(tmp_path / "photos", {"train/a": 8, "train/b": 8, "c": 3, "train": 2})
    examined(photos, tmp_path)
    assert "beside train these folders are left out: c" in caplog.text
    assert "2 images lie in no class folder and are left out: image_00.png" in caplog.text


def test_photos_in_a_format_that_is_not_read_are_named(tmp_path, caplog):
    photos = write_folder(tmp_path / "photos", {"a": 8, "b": 8})
    (photos / "a" / "IMG_1.HEIC").write_bytes(b"a telephone's")
    examined(photos, tmp_path)
    assert "left out: 1 .heic" in caplog.text
    others = tmp_path / "others"
    (others / "a").mkdir(parents=True)
    (others / "a" / "IMG_1.HEIC").write_bytes(b"a telephone's")
    with pytest.raises(DataError, match=r"no images found \(but 1 .heic: export them as JPEG"):
        examined(others, tmp_path)
