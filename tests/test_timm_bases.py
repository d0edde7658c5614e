"""Models of timm as bases: weights from a file, a hub or none, features, training, cost, refusals."""

import copy
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import yaml
from safetensors.torch import load_file, save_file
from timm.layers import set_fused_attn, use_fused_attn
from torch.utils.flop_counter import FlopCounterMode

from frugalvit.config.schema import validate
from frugalvit.config.study import load_study
from frugalvit.data.mirror import find_mirror
from frugalvit.data.store import Store
from frugalvit.devices.fabric import make_fabric
from frugalvit.errors import ConfigError, WeightsError
from frugalvit.methods.expected import measure_speeds
from frugalvit.methods.method import PLAIN
from frugalvit.methods.trained import MethodRecipe, load_run
from frugalvit.models.any_model import gflops_of_model, numbers_cached
from frugalvit.models.base import build_from_base, load_card
from frugalvit.models.export import export_base
from frugalvit.models.timm_models import describe_model
from frugalvit.training.features import extract_to_file, image_sets
from frugalvit.training.freezing import all_freeze_reports, apply_freeze, set_modes
from frugalvit.training.runs import RunFiles, train_run
from tests.small_study import make_study
from tests.workflows import ROOT

NET, SIZE = "test_efficientnet", 32
VIT = "test_vit"
STUDY = yaml.safe_load((ROOT / "tests" / "studies" / "bases.yaml").read_text())


def original(name: str, **sizes) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = timm.create_model(name, pretrained=False, num_classes=7, **sizes)
        for module in model.modules():  # as after training, not as at the start
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    return model.eval()


def export(folder: Path, settings: dict, **how) -> dict:
    drawn = {key: settings[key] for key in ("store", "stored") if key in settings}  # by the config
    stated = {key: value for key, value in settings.items() if key not in drawn}
    base = validate({"source": "timm", "architecture": NET, "image_size": SIZE} | stated, "base")
    paths = folder / "base" / "weights.safetensors", folder / "base" / "card.json"
    paths[0].parent.mkdir(exist_ok=True)
    how = {"mirror": None, "cache": folder / "cache"} | how
    return export_base(base | drawn, *paths, freeze_check=all_freeze_reports, **how)


def images(size: int = SIZE) -> torch.Tensor:
    return torch.randn(3, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", ["safetensors", "pickle"])
def test_a_file_gives_timms_own_features(tmp_path, kind):
    model = original(NET)
    path = tmp_path / "net.bin"
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, path) if kind == "safetensors" else torch.save({"state_dict": state}, path)
    card = export(tmp_path, {"file": str(path)})
    base = build_from_base(tmp_path / "base", 5).eval()
    with torch.no_grad():
        expected = model.forward_head(model.forward_features(images()), pre_logits=True)
        torch.testing.assert_close(base.pool(images()), expected, rtol=0, atol=0)
        assert base(images()).shape == (3, 5)
    assert card["file"] == "net.bin" and len(card["sha256"]) == 64
    assert card["parameters"]["body"] == sum(p.numel() for p in base.body.parameters())
    assert [report["trainable"] for report in card["frozen"].values()] == [
        0, card["parameters"]["body"],
    ]  # fmt: skip


def test_positions_of_a_vit_are_resampled_as_timm_does(tmp_path):
    model = original(VIT, img_size=64)
    save_file({name: one.contiguous() for name, one in model.state_dict().items()}, tmp_path / "v")
    export(tmp_path, {"file": str(tmp_path / "v"), "architecture": VIT, "image_size": 96})
    base = build_from_base(tmp_path / "base", 0).eval()
    model.set_input_size(img_size=96)
    with torch.no_grad():
        expected = model.forward_head(model.forward_features(images(96)), pre_logits=True)
        torch.testing.assert_close(base(images(96)), expected, rtol=1e-4, atol=1e-5)


def test_what_timm_publishes_stands_in_the_card(tmp_path):
    card = export(tmp_path, {"architecture": "tf_efficientnet_lite0.in1k", "weights": "none",
                             "image_size": 64, "store": [256, 256]})  # fmt: skip
    told = timm.models.get_pretrained_cfg("tf_efficientnet_lite0.in1k")
    assert card["preprocessing"]["mean"] == list(told.mean)
    assert card["preprocessing"]["interpolation"] == told.interpolation == "bicubic"
    assert card["preprocessing"]["stored"] / 64 == pytest.approx(1 / told.crop_pct, abs=0.02)
    assert card["origin"]["license"] == "apache-2.0"
    assert card["origin"]["source"]
    stated = export(tmp_path, {"weights": "none", "mean": [0.1] * 3, "stored": 40})
    assert stated["preprocessing"]["mean"] == [0.1] * 3
    assert stated["preprocessing"]["stored"] == 40


def test_random_weights_follow_the_seed(tmp_path):
    export(tmp_path, {"weights": "none"})
    first = (tmp_path / "base" / "weights.safetensors").read_bytes()
    torch.rand(3)
    export(tmp_path, {"weights": "none"})
    assert (tmp_path / "base" / "weights.safetensors").read_bytes() == first


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub on this machine alone that has one repository."""
    folder = tmp_path / "hub" / "someone" / "net" / "resolve" / "main"
    folder.mkdir(parents=True)
    state = {name: one.contiguous() for name, one in original(NET).state_dict().items()}
    save_file(state, folder / "model.safetensors")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "hub"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield folder
    server.shutdown()
    server.server_close()


def test_a_repository_is_downloaded_once_or_taken_from_the_mirror(hub, tmp_path):
    card = export(tmp_path, {"repository": "someone/net"})
    assert (card["origin"]["repository"], card["origin"]["revision"]) == ("someone/net", "main")
    weights = (tmp_path / "base" / "weights.safetensors").read_bytes()
    (tmp_path / "mirror").mkdir()
    (hub / "model.safetensors").rename(tmp_path / "mirror" / "someone--net--model.safetensors")
    export(
        tmp_path, {"repository": "someone/net"}, cache=tmp_path / "new", mirror=tmp_path / "mirror"
    )
    assert (tmp_path / "base" / "weights.safetensors").read_bytes() == weights
    with pytest.raises(WeightsError, match="cannot get model"):
        export(tmp_path, {"repository": "someone/net", "sha256": "0" * 64},
               cache=tmp_path / "third", mirror=tmp_path / "mirror")  # fmt: skip


def test_other_weights_and_unknown_models_are_one_line(tmp_path):
    state = {name: one.contiguous() for name, one in original(NET).state_dict().items()}
    save_file(state, tmp_path / "net")
    file = {"file": str(tmp_path / "net")}
    with pytest.raises(WeightsError, match="test_vit has other tensors"):
        export(tmp_path, file | {"architecture": VIT})
    save_file({**state, "conv_stem.weight": torch.full((1,), 1.0)}, tmp_path / "net")
    with pytest.raises(WeightsError, match="cannot take these weights"):
        export(tmp_path, file)
    bad = {**state, "conv_stem.weight": state["conv_stem.weight"] * float("nan")}
    save_file(bad, tmp_path / "net")
    with pytest.raises(WeightsError, match="not finite"):
        export(tmp_path, file)
    with pytest.raises(
        ConfigError, match=r"base\.architecture: timm has no model 'test_vitt'; did you"
    ):
        export(tmp_path, {"architecture": "test_vitt", "weights": "none"})
    with pytest.raises(ConfigError, match="image_size: timm's levit_128s cannot see 100 px"):
        export(tmp_path, {"architecture": "levit_128s", "weights": "none", "image_size": 100})
    with pytest.raises(ConfigError, match=r"base\.file: no file 'nowhere'"):
        export(tmp_path, {"file": "nowhere"})


@pytest.mark.parametrize("name", [NET, VIT])
def test_gflops_are_what_torch_counts(name):
    fused = use_fused_attn()
    set_fused_attn(False)
    model = original(name, **({"img_size": 64} if name == VIT else {}))
    set_fused_attn(fused)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(images(64))
    found = describe_model(name, 64)
    head = 2 * found["hidden_dim"] * 7 / 1e9
    assert 3 * (found["gflops"] + head) == pytest.approx(counter.get_total_flops() / 1e9)
    assert use_fused_attn() == fused


@pytest.fixture
def study(tmp_path):
    """A tiny prepared study whose base is timm's, and its cached features."""
    folder = make_study(tmp_path / "study")
    card = export(tmp_path, {"weights": "none", "image_size": 24, "mean": [0.2] * 3})
    fabric, store = make_fabric(0, 1), Store(folder / "store")
    model = build_from_base(tmp_path / "base", 0)
    for split in ("train", "valid", "test"):
        sets = image_sets(store, store.ids(split), card["preprocessing"], 0, {}, seed=0)
        extract_to_file(fabric, model, sets, tmp_path / "features" / "plain" / f"{split}.npy", 32)
    return tmp_path


def trained(study: Path, name: str, *schedule: dict, cached: bool = True) -> Path:
    config = copy.deepcopy(STUDY)
    config["experiments"] = {
        "mine": {"method": PLAIN, "base": "cnn", "schedule": list(schedule), "lr": 0.01,
                 "cache_features": cached},
    }  # fmt: skip
    settings = load_study(config).runs["mine-s0"].settings
    (study / name).mkdir()
    files = RunFiles(
        folder=study / name,
        store=study / "study" / "store",
        assignments=study / "study" / "assignments.csv",
        base=study / "base",
        features={"plain": study / "features" / "plain"} if cached else {},
    )
    how = {"batch_size": 32, "workers": 0, "code": "x"}
    train_run(make_fabric(0, 1), "mine-s0", settings, files, MethodRecipe(PLAIN), **how)
    return study / name


def test_a_head_trains_alike_on_cached_features_and_on_images(study):
    assert np.load(study / "features" / "plain" / "valid.npy").shape[1:] == (1, 1, 1, 256)
    head = {"train": "head", "epochs": 2, "optimizer": "sgd"}
    runs = [
        trained(study, "cached", head),
        trained(study, "live", head, cached=False),
    ]
    weights = [load_file(run / "weights.safetensors") for run in runs]
    body = load_file(study / "base" / "weights.safetensors")
    for name, tensor in weights[1].items():
        torch.testing.assert_close(weights[0][name], tensor, rtol=1e-4, atol=1e-5)
        if name.startswith("body."):
            torch.testing.assert_close(tensor, body[name], rtol=0, atol=0)  # running means too
    assert weights[0]["heads.weight"].abs().sum() > 0


def test_the_whole_network_trains_and_its_folder_alone_gives_it_back(study):
    run = trained(study, "all", {"train": "head", "epochs": 1}, {"train": "all", "epochs": 1},
                  {"train": "head", "epochs": 1})  # fmt: skip
    model, card = load_run(run)
    assert card["architecture"]["timm"] == NET and card["architecture"]["num_classes"] == 10
    body = load_file(study / "base" / "weights.safetensors")
    moved = load_file(run / "weights.safetensors")
    assert any(not torch.equal(moved[name], body[name]) for name in body)
    expected = card["architecture"]["gflops"] + 2 * 256 * 10 / 1e9
    assert gflops_of_model(model) == pytest.approx(expected)
    assert load_card(study / "base")["architecture"]["gflops"] == card["architecture"]["gflops"]


def test_a_frozen_body_keeps_its_running_means(study):
    model = build_from_base(study / "base", 10)
    apply_freeze(model, "head")
    set_modes(model)
    assert model.heads.training and not model.body.training
    apply_freeze(model, "all")
    set_modes(model)
    assert model.body.training


def config_with(**entry) -> dict:
    study = copy.deepcopy(STUDY)
    study["experiments"]["cnn_all"] |= entry
    return study


EXITS = {"method": "early_exit", "schedule": [{"train": "exits", "epochs": 1}]}
REFUSED = {
    "exits": (EXITS, "cnn_all.method: early_exit adapts the blocks of a ViT, and timm's test_effic"),
    "halting": ({"method": "avit"}, "cnn_all.method: avit adapts the blocks"),
    "boxes": ({"method": "localize"}, "cnn_all.method: localize adapts the blocks"),
    "merging": ({"method": "token_merging", "from": "cnn_head", "r": [1]}, "token_merging adapts"),
    "fewer blocks": ({"keep_blocks": 2}, "cnn_all.keep_blocks: timm's test_efficientnet.r160_in1k is"),
    "last blocks": ({"schedule": [{"train": {"blocks": 2}, "epochs": 1}]},
                    "cnn_all.schedule[0].train: timm's test_efficientnet.r160_in1k has no blocks"),
    "dropout": ({"dropout": 0.1}, "cnn_all.dropout: timm's test_efficientnet.r160_in1k is trained"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_only_a_vit_can_do_is_refused_in_one_line(what):
    entry, words = REFUSED[what]
    study = config_with()
    study["experiments"]["cnn_head"] = copy.deepcopy(study["experiments"]["cnn_all"])
    if entry.get("from"):
        del study["experiments"]["cnn_all"]["base"]
        del study["experiments"]["cnn_all"]["schedule"]
    study["experiments"]["cnn_all"] |= entry
    with pytest.raises(ConfigError) as caught:
        load_study(study)
    assert words in str(caught.value)


def test_a_name_and_a_shape_are_not_mixed_up():
    study = config_with()
    study["bases"]["cnn"]["architecture"] = study["bases"]["tiny"]["architecture"]
    with pytest.raises(ConfigError, match=r"cnn\.architecture: with base\.source timm write the n"):
        load_study(study)
    study = config_with()
    study["bases"]["tiny"]["architecture"] = NET
    with pytest.raises(
        ConfigError, match=r"tiny\.architecture: with base\.source random write a b"
    ):
        load_study(study)


def test_an_imagenet_network_from_a_mirror(tmp_path):
    mirror = find_mirror({"mirror": None})
    name = "efficientnet_lite0.safetensors"
    if not mirror or not (Path(mirror) / name).is_file():
        pytest.skip(f"no {name} in a mirror; set FRUGALVIT_MIRROR to the folder that has it")
    settings = {"architecture": "tf_efficientnet_lite0.in1k", "file": name, "image_size": 64}
    card = export(tmp_path, settings, mirror=mirror)
    base = build_from_base(tmp_path / "base", 0).eval()
    theirs = timm.create_model("tf_efficientnet_lite0", num_classes=1000).eval()
    theirs.load_state_dict(
        {key: one.float() for key, one in load_file(Path(mirror) / name).items()}
    )
    with torch.no_grad():
        expected = theirs.forward_head(theirs.forward_features(images(64)), pre_logits=True)
        torch.testing.assert_close(base(images(64)), expected, rtol=0, atol=0)
    assert card["parameters"]["body"] == 3_371_008


def test_the_estimate_knows_what_is_cached_of_it():
    shape = describe_model(NET, 24)
    speeds = measure_speeds(shape, 10, batch=4, evaluated=8, seconds=0.02)
    assert speeds.layers == 0 and speeds.forward > 0 and speeds.head > 0
    assert numbers_cached(shape) == 256
