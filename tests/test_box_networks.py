"""A ResNet-18 that answers class and box: its heads, its cost, its weights from elsewhere, its keys."""

import hashlib
import http.server
import json
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import ResNet18_Weights, resnet18

from frugalvit.cli.estimate_study import architecture_of
from frugalvit.config.experiments import run_settings
from frugalvit.config.schema import merge, validate
from frugalvit.config.study import load_study
from frugalvit.devices.fabric import make_fabric
from frugalvit.errors import ConfigError, TrainingError, WeightsError
from frugalvit.files import read_json
from frugalvit.methods.localize.model import answers_of, begin, restore
from frugalvit.methods.localize.objective import Localization
from frugalvit.methods.predictor import Predictor
from frugalvit.methods.trained import MethodRecipe, load_run
from frugalvit.models.networks.network_weights import export_network, read_body
from frugalvit.models.weights import torchvision_weights
from frugalvit.training.runs import RunFiles, train_run
from tests.small_study import ARCHITECTURE, KilledError, killed_after, weights_bytes
from tests.test_localize import HOW

RESNET = {"kind": "resnet18", "small_stem": False, "weights": None}
SEEN = {"image_size": 24, "mean": [0.2] * 3, "std": [0.25] * 3}


def settings_for(tokens="grid", network=RESNET, **phase):
    """A run's settings, as the study would expand them."""
    training = merge(validate({}, "training"), {"lr": 0.002, "layer_decay": 1.0})
    settings = run_settings("localize", 0, training, [{"train": "all", "epochs": 2, **phase}])
    own = {"localize": HOW | {"tokens": tokens}, "network": network, "preprocessing": SEEN}
    return settings | own


def train(study, folder, settings, network=None, processes=1):
    files = RunFiles(
        folder, study / "store", study / "assignments.csv", base=None, features={}, network=network
    )
    how = {"batch_size": 32, "workers": 0, "code": "x"}
    fabric = make_fabric(0, processes, cpu_processes=processes)
    return train_run(fabric, "boxes-s0", settings, files, MethodRecipe("localize"), **how)


def make(tokens="grid", size=24, **network):
    torch.manual_seed(0)
    return begin({"localize": HOW | {"tokens": tokens}, "network": RESNET | network}, size, 4)


@pytest.mark.parametrize("small_stem", [True, False])
@pytest.mark.parametrize("tokens", ["class", "grid"])
@pytest.mark.parametrize("size", [24, 37, 96])
def test_flops_are_those_of_an_independent_counter(tokens, size, small_stem):
    with torch.device("meta"):
        network = make(tokens, size, small_stem=small_stem).eval()
        images = torch.empty(1, 3, size, size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        assert network(images).shape == (1, 4 + 4 + 2)
    assert network.gflops == counter.get_total_flops() / 1e9


@pytest.mark.parametrize("tokens", ["class", "grid"])
def test_it_learns_class_and_box_of_a_few_images(tokens):
    network = make(tokens, 40).train()
    torch.manual_seed(1)
    low = torch.rand(12, 2) * 0.4
    targets = torch.cat(
        [torch.arange(12)[:, None] % 4, low, low + 0.2 + torch.rand(12, 2) * 0.4], 1
    )
    images = torch.randn(12, 3, 40, 40)
    objective = Localization(network.how)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.001)
    for _ in range(25):
        losses = objective.losses(network(images), targets, images)
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
    told = objective.of_split(objective.predicted(network(images)), targets)
    assert told["joint"] == 1
    assert told["mean_iou"] > 0.6


def test_heads_read_the_mean_or_the_places_of_the_features():
    """Places turned around have the same mean and another box."""
    for tokens in ("class", "grid"):
        network = make(tokens, 32, small_stem=True).eval()
        images = torch.randn(3, 3, 32, 32)
        places = network.body.places(images)
        assert places.shape == (3, 512, 4, 4)
        torch.testing.assert_close(network.embed(images), places.mean(dim=(2, 3)))
        boxes = answers_of(network(images)).boxes
        turned = network.body.places
        network.body.places = lambda seen, turned=turned: turned(seen).flip(3)
        flipped = answers_of(network(images)).boxes
        assert torch.allclose(flipped, boxes, atol=1e-5) == (tokens == "class")


def test_a_run_ends_with_a_card_that_gives_it_back(study, tmp_path):
    settings = settings_for("grid", augment={"horizontal_flip": 0.5, "shift": 2})
    progress = train(study, tmp_path, settings)
    assert {"valid_mean_iou", "valid_iou_50", "valid_joint"} <= set(progress.history[-1])
    model, card = load_run(tmp_path)
    assert card["architecture"]["kind"] == "resnet18"
    assert card["parameters"] == sum(one.numel() for one in model.parameters())
    (report,) = card["frozen"]
    assert (report["frozen"], report["parts"]) == (0, {"head": "trains", "body": "trains"})
    images = torch.randn(2, 3, 24, 24)
    again = restore(None, card).eval()
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(images), model.eval()(images))
    whole = json.loads((tmp_path / "card.json").read_text())
    square = {"resize": 24, "crop": 24, "max_pixels": 10**6, "stretch": False}
    (tmp_path / "card.json").write_text(json.dumps(whole | {"square": square}))
    predictor = Predictor(tmp_path)
    assert predictor.columns[-5:] == ["x0", "y0", "x1", "y1", "ms"]
    assert predictor.answer(make_fabric(0, 1), images).boxes.shape == (2, 4)


def test_a_killed_run_ends_as_one_never_killed(study, tmp_path, monkeypatch):
    settings = settings_for("class", ema=0.9)
    train(study, tmp_path / "whole", settings)
    monkeypatch.setattr("frugalvit.training.runs.Trainer", killed_after(1))
    with pytest.raises(KilledError):
        train(study, tmp_path / "killed", settings)
    monkeypatch.undo()
    assert train(study, tmp_path / "killed", settings).resumed_after == [1]
    assert weights_bytes(tmp_path / "killed") == weights_bytes(tmp_path / "whole")


def test_batch_norm_with_several_processes_is_refused_in_one_line(study, tmp_path):
    with pytest.raises(TrainingError) as caught:
        train(study, tmp_path, settings_for("class"), processes=2)
    assert str(caught.value) == (
        "compute: 2 processes share each batch, but this network has batch norm, which counts the "
        "images of one alone; set compute.gpu and compute.cpu_processes to 1"
    )
    assert not list(tmp_path.iterdir())


# --- weights that it begins with ---


@pytest.fixture
def published(tmp_path):
    """torchvision's state dict, without the counters that its published files lack."""
    torch.manual_seed(3)
    state = resnet18().state_dict()
    state["bn1.running_mean"] += 0.25
    kept = {name: value for name, value in state.items() if not name.endswith("batches_tracked")}
    torch.save(kept, tmp_path / "plain.pth")
    return tmp_path / "plain.pth", state


def test_a_weights_file_gives_torchvisions_features(published, tmp_path, study):
    path, state = published
    card = export_network(str(path), tmp_path / "out.safetensors", tmp_path / "card.json")
    assert card["left_out"] == ["fc.bias", "fc.weight"]
    assert card["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    network = make("class", 64).eval()
    heads = {name: value.clone() for name, value in network.heads.state_dict().items()}
    network.begin_with(tmp_path / "out.safetensors")
    theirs = resnet18()
    theirs.load_state_dict(state)
    theirs.fc = torch.nn.Identity()
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(network.embed(images), theirs.eval()(images))
    assert all(torch.equal(heads[name], own) for name, own in network.heads.state_dict().items())
    # And a run begins with them: at a rate of nothing its weights are still the file's.
    settings = settings_for("class", epochs=1, lr=1e-12)
    train(study, tmp_path / "run", settings, tmp_path / "out.safetensors")
    trained = load_file(tmp_path / "run" / "weights.safetensors")
    torch.testing.assert_close(
        trained["body.layer1.0.conv1.weight"], state["layer1.0.conv1.weight"]
    )
    sources = read_json(tmp_path / "run" / "card.json")["sha256"]
    assert (
        sources["network"]
        == hashlib.sha256((tmp_path / "out.safetensors").read_bytes()).hexdigest()
    )


@pytest.mark.parametrize("wrapped", ["module.", "body."])
def test_wrapped_names_and_nested_checkpoints_are_read(published, tmp_path, wrapped):
    _, state = published
    names = {f"{wrapped}{name}": value for name, value in state.items() if "fc." not in name}
    torch.save({"epoch": 3, "state_dict": names | {"classifier.weight": torch.zeros(2, 512)}},
               tmp_path / "w.pth")  # fmt: skip
    found, left_out = read_body(tmp_path / "w.pth")
    assert left_out == ["classifier.weight"]
    assert torch.equal(found["conv1.weight"], state["conv1.weight"])


def spoilt(state: dict, how: str) -> dict:
    state = dict(state)
    if how == "lacks":
        del state["layer3.0.bn1.weight"]
    elif how == "further":
        state["layer1.2.conv1.weight"] = torch.zeros(64, 64, 3, 3)
    elif how == "shape":
        state["conv1.weight"] = torch.zeros(64, 3, 3, 3)
    else:
        state["bn1.bias"] = torch.full((64,), float("nan"))
    return state


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("lacks", "lacks layer3.0.bn1.weight: no ResNet-18 in torchvision's naming"),
        ("further", "has layer1.2.conv1.weight, which no ResNet-18"),
        ("shape", r"conv1.weight is \[64, 3, 3, 3\], a ResNet-18's \[64, 3, 7, 7\]"),
        ("nan", "bn1.bias holds values that are not finite"),
    ],
)
def test_weights_of_another_network_are_one_line(published, tmp_path, how, says):
    torch.save(spoilt(published[1], how), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=says) as caught:
        read_body(tmp_path / "w.pth")
    assert "\n" not in str(caught.value)


def test_a_pickle_that_holds_more_than_tensors_is_not_loaded(tmp_path):
    torch.save(resnet18(), tmp_path / "whole.pth")
    with pytest.raises(WeightsError, match="holds more than tensors"):
        read_body(tmp_path / "whole.pth")


@pytest.fixture
def publisher(published, tmp_path, monkeypatch):
    """A server that has torchvision's file; the requests that it gets."""
    digest = hashlib.sha256(published[0].read_bytes()).hexdigest()
    name, requests = f"resnet18-{digest[:8]}.pth", []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            body = published[0].read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/{name}"
        monkeypatch.setattr(ResNet18_Weights.IMAGENET1K_V1.value, "url", url)
        monkeypatch.setattr(torchvision_weights, "WAIT", 0.01)
        yield name, requests
        server.shutdown()
        thread.join()


def test_published_weights_come_from_the_mirror_else_from_the_network(
    publisher, published, tmp_path
):
    name, requests = publisher
    how = {"weights_path": tmp_path / "out.safetensors", "card_path": tmp_path / "card.json"}
    for _ in range(2):
        card = export_network("torchvision", **how, cache=tmp_path / "cache")
    assert len(requests) == 1
    assert card["url"].endswith(name)
    assert card["weights"] == "ResNet18_Weights.IMAGENET1K_V1"
    loaded = load_file(tmp_path / "out.safetensors")
    assert torch.equal(loaded["bn1.running_mean"], published[1]["bn1.running_mean"])
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / name).write_bytes(published[0].read_bytes())
    export_network("torchvision", **how, cache=tmp_path / "other", mirror=tmp_path / "mirror")
    assert len(requests) == 1
    (tmp_path / "mirror" / name).write_bytes(b"something else")
    with pytest.raises(WeightsError, match="its SHA-256 does not begin with"):
        export_network("torchvision", **how, cache=tmp_path / "other", mirror=tmp_path / "mirror")


# --- keys ---

DIGITS = {"source": "digits", "digits": {"canvas": 24, "train": 50, "valid": 20, "test": 20}}
BASE = {"source": "random", "image_size": 24, "architecture": ARCHITECTURE}


def config(alone=True, **changes) -> dict:
    experiments = {
        "resnet18": {
            "method": "localize",
            "network": {"kind": "resnet18"},
            "schedule": [{"train": "all", "epochs": 1}],
            **changes,
        }
    }
    if alone:
        images = {"size": 24, "mean": [0.2] * 3, "std": [0.2] * 3}
        return {"study": "boxes", "dataset": DIGITS, "images": images, "experiments": experiments}
    experiments["vit"] = {"method": "localize", "schedule": [{"train": "head", "epochs": 1}]}
    return {"study": "boxes", "dataset": DIGITS, "base": BASE, "experiments": experiments}


def test_a_study_of_its_own_networks_alone_needs_no_base():
    study = load_study(config())
    assert not study.based
    settings = study.runs["resnet18-s0"].settings
    assert settings["network"] == {"kind": "resnet18", "small_stem": False, "weights": None}
    seen = settings["preprocessing"]
    assert (seen["image_size"], seen["mean"], seen["std"]) == (24, [0.2] * 3, [0.2] * 3)
    assert (settings["schedule"][0]["lr"], settings["schedule"][0]["layer_decay"]) == (0.001, 1.0)
    assert list(study.plain_networks) == ["base/cost-of-resnet18"]
    assert study.made_methods == ["localize"]
    assert study.networks == {}
    with pytest.raises(ConfigError, match=r"experiments.vit.method: localize starts from a base"):
        wrong = config()
        wrong["experiments"]["vit"] = config(alone=False)["experiments"]["vit"]
        load_study(wrong)


def test_beside_a_base_only_what_asks_for_it_has_a_network_of_its_own():
    study = load_study(config(alone=False))
    assert study.based
    assert set(study.plain_networks) == {"base/cost", "base/cost-of-resnet18"}
    assert "network" not in study.runs["vit-s0"].settings
    assert "preprocessing" not in study.runs["resnet18-s0"].settings
    assert study.runs["resnet18-s0"].feature_sets == []
    assert not study.runs["resnet18-s0"].head_only


def test_an_estimate_needs_a_base_and_takes_its_shape():
    found = architecture_of(load_study(config(alone=False)), "base", Path("study.yaml"))
    assert found == ARCHITECTURE | {"image_size": 24}
    with pytest.raises(ConfigError, match="base: missing; estimate times the base's shape"):
        architecture_of(load_study(config()), "base", Path("study.yaml"))


def test_weights_are_looked_for_when_the_study_is_read(tmp_path, monkeypatch):
    monkeypatch.delenv("FRUGALVIT_MIRROR", raising=False)
    network = {"kind": "resnet18", "weights": "resnet18.pth"}
    says = r"experiments.resnet18.network.weights: no file 'resnet18.pth' \(and no mirror is set\)"
    with pytest.raises(ConfigError, match=says):
        load_study(config(network=network))
    (tmp_path / "resnet18.pth").write_bytes(b"x")
    study = load_study(config(network=network) | {"mirror": str(tmp_path)})
    (name,) = study.networks
    assert study.network_weights_of("resnet18-s0") == name
    # Weights know something: the rate then follows the number of images, as a base's does.
    assert study.runs["resnet18-s0"].settings["schedule"][0]["lr"] is None
    assert list(load_study(config(network=network | {"weights": "torchvision"})).networks) != [name]


MISTAKES = {
    "frozen": (
        {"schedule": [{"train": {"blocks": 1}, "epochs": 1}]},
        "schedule[0].train: a network of its own trains whole; write all",
    ),
    "two tokens": (
        {"localize": {"tokens": "class_mean"}}, "localize.tokens: resnet18 has no class token beside",
    ),
    "stem": (
        {"network": {"kind": "resnet18", "small_stem": True, "weights": "torchvision"}},
        "network.small_stem: published weights have a first convolution of 7 x 7",
    ),
    "another kind": (
        {"network": {"kind": "vit"}}, "network.kind: 'vit' is unknown; use one of: resnet18",
    ),
    "dropout": ({"dropout": 0.1}, "dropout: resnet18 has none; set it to 0"),
    "blocks kept": ({"keep_blocks": 1}, "keep_blocks: localize keeps all blocks; remove it"),
    "searched": (
        {"grid": {"parameters": {"network.small_stem": [True, False]}}},
        "grid.parameters.network.small_stem: a search keeps one network's cost",
    ),
    "blind augmentation": (
        {"augment": {"trivial_augment": True}}, "schedule[0].augment.trivial_augment: moves objects",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "says"), MISTAKES.values(), ids=MISTAKES)
@pytest.mark.parametrize("alone", [True, False])
def test_mistakes_are_one_line_with_the_key(changes, says, alone):
    with pytest.raises(ConfigError) as caught:
        load_study(config(alone, **changes))
    assert f"experiments.resnet18.{says}" in str(caught.value)
    assert "\n" not in str(caught.value)
