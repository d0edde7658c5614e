"""The base on disk: from every source, with its card, and what its schedules freeze."""

import functools
import hashlib
import http.server
import json
import threading

import pytest
import torch
from torchvision.models import VisionTransformer, Weights, WeightsEnum
from torchvision.models._api import BUILTIN_MODELS, register_model
from torchvision.transforms._presets import ImageClassification

from frugalvit.errors import ConfigError, WeightsError
from frugalvit.models.base import build_from_base, load_base, load_card
from frugalvit.models.export import export_base, export_random
from frugalvit.models.weights import torchvision_weights
from frugalvit.models.weights.torchvision_weights import fetch, from_torchvision, weights_member
from frugalvit.training.freezing import freeze_check

SHAPE = {"patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 24}
SETTINGS = {
    "source": "random",
    "model": None,
    "weights": "DEFAULT",
    "file": None,
    "sha256": None,
    "image_size": 16,
    "architecture": SHAPE,
    "mean": None,
    "std": None,
}


class SmallWeights(WeightsEnum):
    """Weights of the tests' own published model; the server's address is filled in below."""

    IMAGENET1K_V1 = Weights(
        url="",
        transforms=functools.partial(ImageClassification, crop_size=16, resize_size=20),
        meta={"categories": ["a", "b"]},
    )
    DEFAULT = IMAGENET1K_V1


def vit_test(*, weights: SmallWeights | None = None, **kwargs) -> VisionTransformer:
    return VisionTransformer(image_size=16, **SHAPE, **kwargs)


@pytest.fixture
def publisher(tmp_path, monkeypatch):
    """A model that torchvision publishes on a loopback server; yields its file and requests."""
    register_model("vit_test")(vit_test)
    folder = tmp_path / "server"
    folder.mkdir()
    torch.manual_seed(5)
    torch.save(vit_test(num_classes=2).state_dict(), folder / "new.pth")
    digest = hashlib.sha256((folder / "new.pth").read_bytes()).hexdigest()
    file = (folder / "new.pth").rename(folder / f"vit_test-{digest[:8]}.pth")
    requests = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            requests.append(self.path)

    handler = functools.partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/{file.name}"
        monkeypatch.setattr(SmallWeights.IMAGENET1K_V1.value, "url", url)
        monkeypatch.setattr(torchvision_weights, "WAIT", 0.01)
        yield file, requests
        server.shutdown()
        thread.join()
    BUILTIN_MODELS.pop("vit_test")


def test_published_weights_are_downloaded_once(tmp_path, publisher):
    file, requests = publisher
    for _ in range(2):
        state, architecture, info = from_torchvision(
            "vit_test", "DEFAULT", 32, cache=tmp_path / "cache"
        )
    assert len(requests) == 1
    assert (tmp_path / "cache" / file.name).read_bytes() == file.read_bytes()
    assert torch.equal(state["conv_proj.weight"], torch.load(file)["conv_proj.weight"])
    assert architecture == {"image_size": 32, **SHAPE}  # two heads, told by the builder
    assert state["encoder.pos_embedding"].shape == (1, 17, 16)
    assert info["weights"] == "IMAGENET1K_V1"
    assert info["preprocessing"]["mean"] == [0.485, 0.456, 0.406]
    assert (info["preprocessing"]["crop_size"], info["preprocessing"]["resize_size"]) == (16, 20)


def test_the_mirror_comes_first(tmp_path, publisher):
    file, requests = publisher
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / file.name).write_bytes(file.read_bytes())
    member = weights_member("vit_test", "SmallWeights.DEFAULT")
    assert fetch(member, cache=tmp_path / "cache", mirror=mirror) == mirror / file.name
    assert not requests
    (mirror / file.name).write_bytes(b"something else")
    with pytest.raises(WeightsError, match="its SHA-256 does not begin with"):
        fetch(member, cache=tmp_path / "cache", mirror=mirror)


def test_a_damaged_download_is_fetched_again_or_refused(tmp_path, publisher):
    file, requests = publisher
    member = weights_member("vit_test", "DEFAULT")
    (tmp_path / file.name).write_bytes(b"half a file")
    assert fetch(member, cache=tmp_path).read_bytes() == file.read_bytes()
    (tmp_path / file.name).unlink()
    file.write_bytes(b"tampered with")
    with pytest.raises(WeightsError, match=r"invalid hash.*put vit_test-.*into the mirror"):
        fetch(member, cache=tmp_path)
    assert len(requests) == 1 + torchvision_weights.ATTEMPTS
    assert not list(tmp_path.glob("*.pth*"))


def test_an_unreachable_server_is_one_line(tmp_path, publisher, monkeypatch):
    monkeypatch.setattr(
        SmallWeights.IMAGENET1K_V1.value, "url", "http://127.0.0.1:9/vit_x-12345678.pth"
    )
    with pytest.raises(WeightsError, match=r"cannot be downloaded .* into the mirror folder"):
        fetch(weights_member("vit_test", "DEFAULT"), cache=tmp_path)


def test_unknown_published_names_list_what_exists():
    with pytest.raises(ConfigError, match=r"base.model: torchvision has no 'vit_b_17': .*vit_b_16"):
        weights_member("vit_b_17", "DEFAULT")
    with pytest.raises(ConfigError, match=r"vit_b_16 has no 'V9': .*IMAGENET1K_SWAG_E2E_V1"):
        weights_member("vit_b_16", "V9")
    assert weights_member("vit_b_16", "DEFAULT").name == "IMAGENET1K_V1"
    assert weights_member("vit_h_14", "IMAGENET1K_SWAG_LINEAR_V1").transforms().crop_size == [224]


def export(tmp_path, **changes):
    arguments = {
        key: changes.pop(key)
        for key in ("mirror", "pretrained", "pretraining", "freeze_check", "cache")
        if key in changes
    }
    folder = tmp_path / "base"
    card = export_base(
        {**SETTINGS, **changes}, folder / "weights.safetensors", folder / "card.json", **arguments
    )
    assert load_card(folder) == json.loads(json.dumps(card))
    return folder, card


def test_random_base(tmp_path):
    folder, card = export(tmp_path)
    state, _ = load_base(folder)
    assert not any(name.startswith("heads") for name in state)
    assert card["architecture"] == {"image_size": 16, **SHAPE, "num_classes": 0, "eps": 1e-6}
    assert card["preprocessing"]["mean"] == [0.485, 0.456, 0.406]
    assert card["parameters"]["head"] == 0
    assert card["parameters"]["total"] == sum(tensor.numel() for tensor in state.values())
    first = (folder / "weights.safetensors").read_bytes()
    export(tmp_path)
    assert (folder / "weights.safetensors").read_bytes() == first


def test_a_fresh_head_on_the_base(tmp_path):
    folder, _ = export(tmp_path)
    model = build_from_base(folder, 7, dropout=0.1)
    assert model.heads.head.out_features == 7
    assert model.encoder.layers[0].dropout.p == 0.1
    assert torch.equal(model.conv_proj.weight, load_base(folder)[0]["conv_proj.weight"])
    assert build_from_base(folder, 0)(torch.zeros(1, 3, 16, 16)).shape == (1, 16)


def test_base_from_a_file_of_the_mirror(tmp_path):
    source, _ = export(tmp_path)
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (source / "weights.safetensors").rename(mirror / "own.safetensors")
    settings = {"source": "file", "file": "own.safetensors", "architecture": {"num_heads": 2}}
    _, card = export(tmp_path, mirror=mirror, mean=[0.5] * 3, std=[0.2] * 3, **settings)
    content = (mirror / "own.safetensors").read_bytes()
    assert card["file"] == "own.safetensors"
    assert card["sha256"] == hashlib.sha256(content).hexdigest()
    assert card["preprocessing"] == {"image_size": 16, "mean": [0.5] * 3, "std": [0.2] * 3}
    assert card["origin"]["naming"] == "torchvision"
    with pytest.raises(
        ConfigError, match=r"base.file: no file 'own.safetensors'.*no mirror is set"
    ):
        export(tmp_path, **settings)
    settings["architecture"] = {"num_heads": 2, "num_layers": 12}
    with pytest.raises(WeightsError, match="its num_layers is 2, not 12"):
        export(tmp_path, mirror=mirror, **settings)


def test_base_from_torchvision(tmp_path, publisher):
    file, _ = publisher
    _, card = export(
        tmp_path,
        source="torchvision",
        model="vit_test",
        architecture=None,
        cache=tmp_path / "cache",
    )
    assert card["file"] == file.name
    assert card["preprocessing"]["std"] == [0.229, 0.224, 0.225]
    assert card["origin"]["url"].endswith(file.name)


def test_base_from_a_pretraining(tmp_path):
    export_random(
        {key: SETTINGS[key] for key in ("architecture", "image_size")}, tmp_path / "p", seed=4
    )
    pretrained = [tmp_path / "p" / "weights.safetensors", tmp_path / "p" / "card.json"]
    card = json.loads(pretrained[1].read_text())
    card |= {
        "settings": {"epochs": 3, "lr": 0.1},
        "preprocessing": {"mean": [0.2] * 3, "std": [0.3] * 3},
    }
    pretrained[1].write_text(json.dumps(card))
    arguments = {"source": "pretrain", "pretrained": pretrained}
    _, card = export(tmp_path, pretraining={"epochs": 3, "lr": 0.1}, **arguments)
    assert card["preprocessing"]["mean"] == [0.2] * 3
    assert card["origin"]["pretraining"]["settings"] == {"epochs": 3, "lr": 0.1}
    with pytest.raises(ConfigError, match=r"made with another epochs: write `ready_made: null`"):
        export(tmp_path, pretraining={"epochs": 4, "lr": 0.1}, **arguments)


def flip(path, at=-3):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_changed_bytes_of_a_base_are_noticed_wherever_it_is_read(tmp_path):
    folder, card = export(tmp_path)
    weights = folder / "weights.safetensors"
    assert card["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    flip(weights)
    for read in (load_base, functools.partial(build_from_base, num_classes=2)):
        with pytest.raises(WeightsError, match=f"{weights}: its bytes are not those") as caught:
            read(folder)
        assert "\n" not in str(caught.value)
    for source in (
        {"source": "pretrain", "pretrained": [weights, folder / "card.json"]},
        {"source": "file", "file": str(weights)},
    ):
        with pytest.raises(WeightsError, match="its bytes are not those that were written"):
            export(tmp_path / "other", **source)
    flip(weights)
    _, again = export(tmp_path / "other", source="file", file=str(weights), architecture=None)
    assert again["architecture"]["num_heads"] == 2, "as the card beside it says"
    assert "weights_sha256" in again


def test_a_card_from_before_checksums_is_read(tmp_path):
    folder, card = export(tmp_path)
    del card["weights_sha256"]
    (folder / "card.json").write_text(json.dumps(card))
    load_base(folder)


def test_the_card_holds_the_freeze_check_or_nothing_is_written(tmp_path):
    phases = [{"train": "head", "epochs": 2}, {"train": {"blocks": 1}, "epochs": 1}]
    check = functools.partial(freeze_check, schedules={"last": phases})
    _, card = export(tmp_path, freeze_check=check)
    head, blocks = card["frozen"]["last"]
    assert head["trainable"] == 0
    assert blocks["parts"]["block 1"] == "frozen"
    assert blocks["parts"]["block 2"] == "trains"
    assert card["head_parameters_per_class"] == 17
    bad = functools.partial(freeze_check, schedules={"x": [{"train": {"blocks": 3}, "epochs": 1}]})
    with pytest.raises(ConfigError, match=r"experiments.x.schedule\[0\].train: 'blocks: 3'"):
        export(tmp_path / "other", freeze_check=bad)
    assert not (tmp_path / "other").exists()


def test_a_folder_without_a_base(tmp_path):
    with pytest.raises(WeightsError, match=r"card.json: missing or no card"):
        build_from_base(tmp_path, 3)
    folder, _ = export(tmp_path)
    (folder / "weights.safetensors").unlink()
    with pytest.raises(WeightsError, match="no such file"):
        build_from_base(folder, 3)
    (folder / "card.json").write_text("{}")
    with pytest.raises(WeightsError, match="no card of a base"):
        load_base(folder)
