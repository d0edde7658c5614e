"""`frugalvit export`: files that answer as the run does, and say what they are."""

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from safetensors.torch import load_file, save_file
from torchvision.models import VisionTransformer

from frugalvit.cli.main import frugalvit
from frugalvit.data.decode import decode_image
from frugalvit.data.store import Store
from frugalvit.errors import ConfigError
from frugalvit.export import runner, times
from frugalvit.files import read_json, sha256_file, write_json
from frugalvit.methods.early_exit.criteria import decide
from frugalvit.methods.predictor import Predictor
from frugalvit.methods.trained import load_run
from frugalvit.operating_point import FULL, NEVER, Point
from tests.imagefolders import noise
from tests.made_runs import around, make_run
from tests.test_deep_colours import png, ramps, tiff

HALTING = {"gamma": 1.0, "beta": -0.5, "inference_eps": [0.3]}
TEMPERATURES = [0.9, 1.1, 1.3]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Times are measured, but of few passes."""
    monkeypatch.setattr(times, "SECONDS", 0.01)


@pytest.fixture(scope="module")
def runs(study, tmp_path_factory) -> Path:
    return around(study, tmp_path_factory.mktemp("made"))


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(frugalvit, ["export", *(str(word) for word in words)])


def exported(*words: str | Path) -> dict:
    found = call(*words, "--json")
    assert found.exit_code == 0, (found.output, found.exception)
    return json.loads(found.stdout)


def exits_run(runs: Path, criterion: str, threshold: float) -> Path:
    """Early exits, the first of which reads the grid."""
    if (runs / criterion).is_dir():
        return runs / criterion
    return make_run(
        runs,
        criterion,
        "early_exit",
        (
            Point("budget", 0.7, criterion, threshold, chosen=True),
            Point(FULL, criterion=criterion, threshold=NEVER),
        ),
        {"calibration.json": {"temperatures": TEMPERATURES}},
        exit_head={"shallow": "conv", "shallow_blocks": 1, "hidden_dim": 8},
    )


# Criteria that remember nothing, whole numbers, and numbers; thresholds at which some images leave.
THRESHOLDS = {"confidence": 0.7, "patience": 2.0, "ensemble": 0.7}


@pytest.mark.parametrize("criterion", THRESHOLDS)
def test_early_exits_decide_in_onnx_as_the_run_does(runs, tmp_path, criterion):
    run = exits_run(runs, criterion, THRESHOLDS[criterion])
    card = exported(run, "--out", tmp_path / "out")
    assert [stage["file"] for stage in card["stages"]] == [
        "to_block_1.onnx", "to_block_2.onnx", "to_block_3.onnx",
    ]  # fmt: skip
    check = card["check"]
    assert (check["n"], check["answers_differ"], check["exits_differ"]) == (32, 0, 0)
    assert check["largest_probability_difference"] <= 1e-4
    assert card["time"]["saved"] == pytest.approx(
        1 - card["time"]["ms"]["export"] / card["time"]["ms"]["whole"], abs=1e-3
    )
    # Against the simulation of the evaluation, which knows neither graphs nor the model's own loop.
    store = Store(run.parents[3] / "data" / "digits" / "store")
    pixels = store.images("test")
    found = runner.Model(tmp_path / "out").answer(pixels)
    model = load_run(run)[0].eval()
    how = card["preprocessing"]
    images = torch.tensor(pixels).permute(0, 3, 1, 2) / 255 - torch.tensor(how["mean"]).view(
        3, 1, 1
    )
    with torch.inference_mode():
        logits = model(images / torch.tensor(how["std"]).view(3, 1, 1))
    left, answers = decide(logits, TEMPERATURES, criterion, THRESHOLDS[criterion])
    assert found["exit"].tolist() == (left + 1).tolist()
    assert len(set(found["exit"].tolist())) >= 2, (
        "a threshold at which no image leaves tests nothing"
    )
    assert np.abs(found["probabilities"] - answers.exp().numpy()).max() <= 1e-4


OTHERS = {
    "plain": {"method": "fine_tune"},
    "boxes": {"method": "localize", "localize": {"hidden_dim": 8, "tokens": "grid"}},
    "merged": {"method": "token_merging", "points": (Point("r", 2, chosen=True),)},
    "pruned": {
        "method": "token_pruning",
        "points": (Point("keep", 0.6, chosen=True),),
        "from": "plain", "keep_tokens": [0.6], "prune_blocks": [1, 2],
    },
    "halting": {
        "method": "avit",
        "points": (Point("packed", 0.01, chosen=True), Point("masked", 0.01)),
        "halting": HALTING,
    },
    "scratch": {
        "method": "scratch",
        "network": {
            "kind": "vit", "patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 16,
            "mlp_dim": 32, "embedding": 5,
        },
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Exports of one ONNX graph, each made once: card and folder."""
    made = {}

    def export(runs: Path, name: str, more: list[str]) -> tuple[dict, Path]:
        if name not in made:
            out = tmp_path_factory.mktemp("whole") / name
            made[name] = exported(run_of(runs, name), *more, "--out", out), out
        return made[name]

    return export


def run_of(runs: Path, name: str) -> Path:
    return runs / name if (runs / name).is_dir() else make_run(runs, name, **OTHERS[name])


@pytest.mark.parametrize(
    ("name", "more", "told"),
    [
        ("plain", [], []),
        ("boxes", [], ["boxes"]),
        ("merged", [], []),
        ("pruned", [], []),
        ("halting", ["--point", "masked 0.01"], ["depth"]),
        ("scratch", [], ["embedding"]),
    ],
)
def test_one_graph_answers_as_the_run_does(runs, whole, name, more, told):
    card, out = whole(runs, name, more)
    [stage] = card["stages"]
    assert stage["answers"] == ["probabilities", *told]
    check = card["check"]
    assert check["same"]
    assert check["answers_differ"] == 0
    assert check["accuracy"] == check["accuracy_run"]
    assert check["largest_probability_difference"] <= 1e-4
    for one in told:
        assert check[f"largest_{one}_difference"] <= 1e-4
    # Uniform answers would agree whatever the graph.
    model = runner.Model(out)
    store = Store(runs.parents[2] / "data" / "digits" / "store")
    found = model.answer(store.images("test"))
    assert len(set(found["probabilities"].argmax(axis=1))) > 1
    one = model.answer(store.images("test")[3:4])
    assert np.abs(one["probabilities"] - found["probabilities"][3:4]).max() <= 1e-5


def test_what_no_graph_can_say_is_one_line(runs, tmp_path):
    out = tmp_path / "out"
    packed = call(run_of(runs, "halting"), "--out", out)
    assert isinstance(packed.exception, ConfigError)
    assert "export --point 'masked 0.01'" in str(packed.exception)
    drawn = make_run(
        runs, "drawn", "token_pruning", (Point("keep", 0.6, chosen=True),),
        **{"from": "plain", "keep_tokens": [0.6], "select": "random"},
    )  # fmt: skip
    assert "select: random draws" in str(call(drawn, "--out", out).exception)
    assert call(run_of(runs, "plain"), "--int8", "--format", "safetensors").exit_code == 2
    assert not out.exists()
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    assert "holds other files" in str(call(run_of(runs, "plain"), "--out", out).exception)


def test_the_card_says_what_the_files_are(runs, tmp_path):
    run, out = exits_run(runs, "confidence", 0.7), tmp_path / "out"
    card = exported(run, "--point", FULL, "--out", out)
    assert read_json(out / "export.json") == card
    assert set(card["files"]) == {"model.onnx", "runner.py"}
    for name, sha256 in card["files"].items():
        assert sha256_file(out / name) == sha256
    assert card["weights_sha256"] == sha256_file(run / "weights.safetensors")
    assert card["point"]["name"] == FULL
    assert card["classes"] == [str(digit) for digit in range(10)]
    assert {"torch", "onnx", "onnxruntime", "onnxscript"} <= set(card["environment"])
    model = onnx.load(out / "model.onnx")
    [opset] = [one.version for one in model.opset_import if not one.domain]
    assert opset == card["opset"]
    assert str(Path(__file__).parents[1]) not in str(model), "no path of the machine that wrote it"
    # An export of fewer files leaves none of the earlier one.
    exported(run, "--format", "torch-export", "--unchecked", "--out", out)
    assert not (out / "model.onnx").exists()


def test_int8_is_measured_not_assumed(runs, whole, tmp_path):
    run = run_of(runs, "plain")
    card = exported(run, "--int8", "--out", tmp_path / "int8")
    kinds = {one.data_type for one in onnx.load(tmp_path / "int8" / "model.onnx").graph.initializer}
    assert onnx.TensorProto.INT8 in kinds
    assert card["int8"] and card["check"]["n"] == 32
    found = runner.Model(tmp_path / "int8").answer(
        Store(run.parents[3] / "data" / "digits" / "store").images("test")
    )
    labels = Store(run.parents[3] / "data" / "digits" / "store").index.query("split == 'test'")[
        "label"
    ]
    right = float((found["probabilities"].argmax(axis=1) == labels.to_numpy()).mean())
    assert card["check"]["accuracy"] == pytest.approx(right)
    assert card["check"]["largest_probability_difference"] > 1e-4
    unchanged, _ = whole(runs, "plain", [])
    assert unchanged["check"]["largest_probability_difference"] <= 1e-4


def test_an_export_that_answers_otherwise_is_no_success(runs, tmp_path, monkeypatch):
    """What is compared is what was written: a graph of other weights is found out."""
    from frugalvit.export import pixels

    monkeypatch.setattr(
        pixels.FromPixels, "forward", lambda self, images: self.stage(
            images[:, : self.size, : self.size].permute(0, 3, 1, 2).float() * self.scale
        ),
    )  # fmt: skip
    found = call(run_of(runs, "plain"), "--format", "torch-export", "--out", tmp_path / "out")
    assert found.exit_code == 1
    assert "does not answer as the run does" in found.stderr
    assert read_json(tmp_path / "out" / "export.json")["check"]["same"] is False


def test_programs_of_torch_answer_as_the_run_does(runs, tmp_path):
    card = exported(
        exits_run(runs, "confidence", 0.7), "--format", "torch-export", "--out", tmp_path / "out"
    )
    assert card["check"]["same"] and card["check"]["exits_differ"] == 0
    assert {stage["file"] for stage in card["stages"]} == {f"to_block_{k}.pt2" for k in (1, 2, 3)}


def test_safetensors_are_the_runs_folder_in_small(runs, tmp_path):
    run, out = exits_run(runs, "confidence", 0.7), tmp_path / "out"
    card = exported(run, "--format", "safetensors", "--point", FULL, "--out", out)
    assert card["check"]["same"]
    assert Predictor(out).point.name == FULL
    assert set(card["files"]) == {
        "weights.safetensors", "card.json", "calibration.json", "operating_points.csv",
    }  # fmt: skip


def test_safetensors_of_a_plain_run_are_torchvisions(runs, tmp_path):
    run = run_of(runs, "plain")
    exported(run, "--format", "safetensors", "--out", tmp_path / "out")
    card = read_json(tmp_path / "out" / "export.json")
    shape = read_json(tmp_path / "out" / "card.json")["architecture"]
    keys = (
        "image_size",
        "patch_size",
        "num_layers",
        "num_heads",
        "hidden_dim",
        "mlp_dim",
        "num_classes",
    )
    model = VisionTransformer(**{key: shape[key] for key in keys}).eval()
    model.load_state_dict(load_file(tmp_path / "out" / "weights.safetensors"))
    pixels = torch.tensor(Store(runs.parents[2] / "data" / "digits" / "store").images("test"))
    how = card["preprocessing"]
    mean, std = (torch.tensor(how[key]).view(3, 1, 1) for key in ("mean", "std"))
    with torch.inference_mode():
        images = (pixels.permute(0, 3, 1, 2) / 255 - mean) / std
        assert (model(images) - load_run(run)[0].eval()(images)).abs().max() <= 1e-3


def test_the_runner_needs_no_torch_and_reads_photos(runs, whole, tmp_path):
    _, out = whole(runs, "boxes", [])
    Image.fromarray(noise(1, 60, 90)).save(tmp_path / "wide.png")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 no image")
    code = (
        f"import runpy, sys\ntry:\n    runpy.run_path({str(out / 'runner.py')!r}, run_name='__main__')\n"
        "finally:\n    assert not {'torch', 'frugalvit', 'pandas'} & set(sys.modules)\n"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "wide.png"), str(tmp_path / "broken.jpg")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path, env={})
    assert done.returncode == 1, done.stderr
    [told] = [json.loads(line) for line in done.stdout.splitlines()]
    assert "broken.jpg" in done.stderr
    asked = ["predict", str(run_of(runs, "boxes")), str(tmp_path / "wide.png"), "--json"]
    known = json.loads(CliRunner().invoke(frugalvit, [*asked, "--device", "cpu"]).stdout)
    assert told["class"] == known["class"]
    for key in ("probability", "x0", "y0", "x1", "y1"):
        assert told[key] == pytest.approx(known[key], abs=0.11 if key != "probability" else 1e-4)


def images_of_many_kinds(folder: Path) -> list[Path]:
    """Files whose decoding has something to get wrong."""
    rgb = Image.fromarray(noise(5, 70, 110))
    files = []
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = turn
        files.append(folder / f"turn_{turn}.jpg")
        rgb.save(files[-1], exif=exif, quality=90)
    large = Image.fromarray(noise(6, 400, 300))  # which JPEG's decoder makes smaller itself
    clear = rgb.convert("RGBA")
    clear.putalpha(Image.fromarray(noise(7, 70, 110)[..., 0]))
    others = {
        "large.jpg": large, "clear.png": clear, "clear.webp": clear, "grey.png": rgb.convert("L"),
        "palette.gif": rgb.convert("P"), "cmyk.jpg": rgb.convert("CMYK"), "bits.png": rgb.convert("1"),
        "two.png": rgb.convert("LA"), "exact.png": Image.fromarray(noise(8, 32, 32)),
        "strip.tiff": Image.fromarray(noise(9, 9, 300)),
    }  # fmt: skip
    for name, image in others.items():
        files.append(folder / name)
        image.save(files[-1])
    return files


@pytest.mark.parametrize("stretch", [None, [0.1, 0.7]])
@pytest.mark.parametrize(("resize", "crop"), [(32, 32), (40, 32)])
def test_the_runner_decodes_to_the_same_bytes_as_the_workflow(tmp_path, resize, crop, stretch):
    how = {"resize": resize, "crop": crop, "max_pixels": 10**6, "stretch": stretch}
    for file in images_of_many_kinds(tmp_path):
        known = decode_image(file, resize, crop, stretch=stretch)
        pixels, (left, top, side) = runner.decode(file, how)
        assert (pixels == known.pixels).all(), file.name
        assert side == pytest.approx(min(known.width, known.height) * crop / resize)
        assert left == int((known.width - side) / 2) and top == int((known.height - side) / 2)


def test_the_runner_refuses_what_it_would_decode_otherwise(tmp_path):
    how = {"resize": 32, "crop": 32, "max_pixels": 10**6, "stretch": None}
    grey = io.BytesIO()
    Image.fromarray(noise(1)[..., 0].astype(np.uint16) * 257).save(grey, "PNG")
    deep = {
        "grey.png": grey.getvalue(), "colours.png": png(ramps(3)), "opaque.png": png(ramps(4)),
        "colours.tiff": tiff(ramps(3), "<", 1, planes=False),
        "planes.tiff": tiff(ramps(3), ">", 1, planes=True),
    }  # fmt: skip
    for name, content in deep.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match="more than 8 bits"):
            runner.decode(tmp_path / name, how)
    Image.fromarray(noise(2, 40, 40)).save(tmp_path / "many.png")
    with pytest.raises(ValueError, match="more than 100"):
        runner.decode(tmp_path / "many.png", how | {"max_pixels": 100})


def test_image_files_are_compared_with_their_own_decoding(runs, tmp_path):
    """The files of a store's images are looked for by their names; those that are not there are told."""
    root = tmp_path / "study"
    shutil.copytree(runs.parents[2] / "data", root / "data")
    results = root / "results" / "made"
    shutil.copytree(runs.parent / "splits", results / "splits")
    run = results / "runs" / "plain"
    shutil.copytree(run_of(runs, "plain"), run)
    store = Store(root / "data" / "digits" / "store")
    photos = tmp_path / "photos"
    index = pd.read_csv(store.folder / "index.csv", dtype={"class_name": str})
    index["file"] = [f"{name}.png" for name in index["id"]]
    index.to_csv(store.folder / "index.csv", index=False)
    report = read_json(store.folder / "report.json")
    sha256 = sha256_file(store.folder / "index.csv")
    report["files_sha256"]["index.csv"] = sha256
    write_json(store.folder / "report.json", report)
    card = read_json(run / "card.json")
    card["sha256"]["index"] = sha256
    write_json(run / "card.json", card)
    photos.mkdir()
    for name, pixels in list(zip(store.ids("test"), store.images("test")))[:5]:
        Image.fromarray(pixels).save(photos / f"{name}.png")
    asked = (run, "--format", "torch-export", "--photos", photos, "--out", tmp_path / "out")
    found = exported(*asked)["check_photos"]
    assert (found["n"], found["missing"], found["refused"]) == (5, 27, 0)
    assert found["same"]
    shutil.rmtree(photos)
    photos.mkdir()
    assert "holds none of these images" in str(call(*asked).exception)


def test_a_run_alone_is_exported_unchecked(runs, tmp_path):
    alone = shutil.copytree(run_of(runs, "plain"), tmp_path / "plain")
    asked = (alone, "--format", "safetensors", "--out", tmp_path / "out")
    assert "or export --unchecked" in str(call(*asked).exception)
    assert exported(*asked, "--unchecked")["check"] is None
    told = call(*asked, "--unchecked")
    assert "compared with nothing" in told.stdout


def test_weights_that_changed_since_are_refused(runs, tmp_path):
    alone = shutil.copytree(run_of(runs, "plain"), tmp_path / "plain")
    state = load_file(alone / "weights.safetensors")
    save_file({name: part + 1 for name, part in state.items()}, alone / "weights.safetensors")
    found = call(alone, "--format", "safetensors", "--out", tmp_path / "out", "--unchecked")
    assert "its bytes are not those that were written" in str(found.exception)
