"""Weights by a repository's name: fetched, converted, checked, and noted on the base's card."""

import functools
import hashlib
import http.server
import importlib.util
import json
import threading
from types import SimpleNamespace
from urllib.parse import unquote

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer as TimmViT

from frugalvit.config import job_params
from frugalvit.config.reading import read_yaml
from frugalvit.config.schema import validate
from frugalvit.config.study import load_study
from frugalvit.data import download
from frugalvit.errors import ConfigError, WeightsError
from frugalvit.models.backbone import class_token
from frugalvit.models.base import build_from_base, load_card
from frugalvit.models.export import export_base
from tests.workflows import ROOT, copy_workflow, planned

REPOSITORY = "owner/vit_tiny.fb_in1k"
LOCAL = "owner--vit_tiny.fb_in1k--model.safetensors"
SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 1}
DESCRIPTIONS = ("config.json", "preprocessor_config.json")
FEW = {"atol": 1e-4, "rtol": 0}
CALTECH = ROOT / "config" / "studies" / "caltech256.yaml"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub on the loopback address; yields its folder of repositories, and what was asked of it."""
    folder, asked = tmp_path / "hub", []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            super().do_GET()

        def translate_path(self, path):
            return str(folder / unquote(path).lstrip("/"))

        def log_message(self, *_):
            pass

    monkeypatch.setattr(download, "BACK_OFF", 0.0)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(
            target=functools.partial(server.serve_forever, poll_interval=0.01)
        )
        thread.start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}/")
        yield folder, asked
        server.shutdown()
        thread.join()


def published(folder, model, revision="main", file="model.safetensors"):
    """Publish a model's state; returns the file."""
    path = folder / REPOSITORY / "resolve" / revision / file
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)
    return path


def small_vit(seed=0):
    torch.manual_seed(seed)
    return TimmViT(**SMALL, num_classes=5).eval()


def images(count=3):
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(7))


def export(tmp_path, mirror=None, **changes):
    settings = {"source": "hub", "repository": REPOSITORY, "image_size": 32, **changes}
    folder = tmp_path / "base"
    export_base(
        validate(settings, "base"),
        folder / "weights.safetensors",
        folder / "card.json",
        cache=tmp_path / "cache",
        mirror=mirror,
    )
    return folder


@torch.no_grad()
def read_by_base(folder):
    return class_token(build_from_base(folder, 0).eval(), images())


@torch.no_grad()
def test_the_base_computes_what_the_published_model_computes(tmp_path, hub):
    folder, asked = hub
    model = small_vit()
    file = published(folder, model)
    base = export(tmp_path)
    torch.testing.assert_close(read_by_base(base), model.forward_features(images())[:, 0], **FEW)
    card = load_card(base)
    assert card["file"] == "model.safetensors"
    assert card["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert card["origin"]["repository"] == REPOSITORY
    assert card["origin"]["revision"] == "main"
    assert card["origin"]["naming"] == "timm"
    small = [f"/{REPOSITORY}/resolve/main/{name}" for name in DESCRIPTIONS]
    assert asked == [*small, f"/{REPOSITORY}/resolve/main/model.safetensors"]
    export(tmp_path)
    assert len(asked) == 3 + 2, "what the hub has not, it may have now"
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [LOCAL]


@torch.no_grad()
def test_a_distilled_models_distillation_token_is_dropped(tmp_path, hub):
    folder, _ = hub
    torch.manual_seed(1)
    model = timm.create_model(
        "deit_tiny_distilled_patch16_224", depth=2, img_size=32, pretrained=False
    ).eval()
    torch.nn.init.normal_(model.dist_token)
    published(folder, model)
    base = export(tmp_path)
    # timm's own modules, fed without the distillation token and its position
    tokens = model.patch_embed(images())
    tokens = torch.cat([model.cls_token.expand(3, -1, -1), tokens], dim=1)
    positions = torch.cat([model.pos_embed[:, :1], model.pos_embed[:, 2:]], dim=1)
    theirs = model.norm(model.blocks(tokens + positions))[:, 0]
    torch.testing.assert_close(read_by_base(base), theirs, **FEW)
    assert load_card(base)["origin"]["distillation_token"]


@torch.no_grad()
def test_a_revision_and_a_file_have_their_own_place(tmp_path, hub):
    """Also in the cache: weights of main must not be taken for those of a pull request."""
    folder, asked = hub
    published(folder, small_vit(0))
    other = small_vit(1)
    published(folder, other, "refs/pr/1", "weights/other.bin")
    main = read_by_base(export(tmp_path))
    base = export(tmp_path, revision="refs/pr/1", file="weights/other.bin")
    torch.testing.assert_close(read_by_base(base), other.forward_features(images())[:, 0], **FEW)
    assert not torch.allclose(read_by_base(base), main, atol=1e-2)
    assert asked[-1] == f"/{REPOSITORY}/resolve/refs%2Fpr%2F1/weights/other.bin"
    assert load_card(base)["origin"]["revision"] == "refs/pr/1"
    assert load_card(base)["file"] == "weights/other.bin"
    published(folder, other, "v2")
    export(tmp_path, revision="v2")
    assert torch.equal(read_by_base(tmp_path / "base"), read_by_base(base))


def test_the_mirror_comes_first(tmp_path, hub):
    folder, asked = hub
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    file = published(folder, small_vit())
    content = file.read_bytes()
    (mirror / "model.safetensors").write_bytes(b"of another repository")
    (mirror / LOCAL).write_bytes(content)
    card = load_card(export(tmp_path, mirror=mirror))
    assert not asked
    assert card["sha256"] == hashlib.sha256(content).hexdigest()
    file.unlink()
    with pytest.raises(WeightsError, match="answered 404"):
        export(tmp_path, mirror=mirror, revision="v1")
    (mirror / LOCAL.replace("--model", "@v1--model")).write_bytes(content)
    export(tmp_path, mirror=mirror, revision="v1")


def test_a_checksum_is_kept_to(tmp_path, hub):
    folder, asked = hub
    file = published(folder, small_vit())
    right = hashlib.sha256(file.read_bytes()).hexdigest()
    export(tmp_path, sha256=right)
    file.write_bytes(b"tampered with")
    (tmp_path / "cache" / LOCAL).unlink()
    with pytest.raises(WeightsError, match=f"its sha256 is .*, expected {right}") as caught:
        export(tmp_path, sha256=right)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "cache").iterdir())
    assert len([path for path in asked if path.endswith("model.safetensors")]) == 2


def describe(folder, **files):
    for name, content in files.items():
        path = folder / REPOSITORY / "resolve" / "main" / f"{name}.json"
        path.write_text(json.dumps(content))


TIMM = {
    "architecture": "vit_tiny_patch16_224",
    "num_features": 64,
    "global_pool": "token",
    "pretrained_cfg": {"tag": "augreg_in21k", "mean": [0.5, 0.5, 0.5], "std": [0.4, 0.4, 0.4]},
}


def test_what_the_repositorys_config_says_is_taken(tmp_path, hub):
    folder, asked = hub
    published(folder, small_vit())
    describe(folder, config={**TIMM, "model_args": {"num_heads": 2}})
    card = load_card(export(tmp_path))
    assert card["preprocessing"] == {"image_size": 32, "mean": [0.5] * 3, "std": [0.4] * 3}
    assert card["architecture"]["num_heads"] == 2
    taken = card["origin"]["taken"]
    said = f"as {LOCAL.replace('model.safetensors', 'config.json')} says"
    assert taken["num_heads"] == f"2, {said}"
    assert taken["activation"] == f"GELU, {said}"
    assert taken["pooling"] == f"class token, {said}"
    assert not any(path.endswith("preprocessor_config.json") for path in asked)
    # The study's own word counts.
    card = load_card(export(tmp_path, mean=[0.1] * 3, std=[0.2] * 3))
    assert card["preprocessing"]["mean"] == [0.1] * 3


def test_hugging_faces_two_files(tmp_path, hub):
    published(hub[0], small_vit())
    config = {"model_type": "vit", "hidden_size": 64, "num_attention_heads": 4}
    config |= {"hidden_act": "gelu", "layer_norm_eps": 1e-5, "num_hidden_layers": 2}
    preprocessor = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}
    describe(hub[0], config=config, preprocessor_config=preprocessor)
    card = load_card(export(tmp_path))
    assert (card["architecture"]["num_heads"], card["architecture"]["eps"]) == (4, 1e-5)
    assert card["preprocessing"]["std"] == [0.25] * 3
    assert len(card["origin"]["described_by"]) == 2


def test_what_is_assumed_is_said(tmp_path, hub, caplog):
    published(hub[0], small_vit())
    taken = load_card(export(tmp_path))["origin"]["taken"]
    for key in ("num_heads", "activation", "pooling", "positions", "mean_and_std"):
        assert "assumed" in taken[key]
        assert f"base: {key}: {taken[key]}" in caplog.text


def test_a_refused_model_is_not_downloaded(tmp_path, hub):
    folder, asked = hub
    published(folder, small_vit())
    describe(folder, config={**TIMM, "global_pool": "avg"})
    with pytest.raises(WeightsError, match=r"config.json: global_pool: its head reads 'avg'"):
        export(tmp_path)
    assert not any(path.endswith("model.safetensors") for path in asked)
    with pytest.raises(WeightsError, match=r"quickgelu.*tells of the activation QuickGELU"):
        export(tmp_path, repository="timm/vit_base_patch16_clip_quickgelu_224.openai")


def test_a_hub_that_fails_is_not_taken_for_one_without_a_config(tmp_path, hub, monkeypatch):
    """Else the same study would normalise its images otherwise on another day."""
    published(hub[0], small_vit())
    export(tmp_path)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match=r"cannot get config.json .* into the mirror") as caught:
        export(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("changes", [{"repository": "owner/none"}, {"revision": "v9"}])
def test_what_is_not_there_is_told_with_its_name(tmp_path, hub, changes):
    folder, _ = hub
    published(folder, small_vit())
    with pytest.raises(WeightsError) as caught:
        export(tmp_path, **changes)
    told = {"repository": REPOSITORY, "revision": "main", **changes}
    assert str(caught.value).startswith(
        f"base.repository: cannot get model.safetensors of '{told['repository']}' at revision "
        f"'{told['revision']}'"
    )
    assert "answered 404" in str(caught.value)
    assert "put the file into the mirror folder" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "base").exists()


def test_another_model_than_stated_is_refused(tmp_path, hub):
    published(hub[0], small_vit())
    with pytest.raises(WeightsError, match="its num_layers is 2, not 12 as stated"):
        export(tmp_path, architecture={"num_layers": 12})


@pytest.mark.parametrize("endpoint", ["ftp://hub.example", "hub.example"])
def test_an_endpoint_that_is_no_address_is_told(tmp_path, monkeypatch, endpoint):
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(WeightsError, match=r"is not an http\(s\) address"):
        export(tmp_path)


@pytest.mark.parametrize("key", ["repository", "revision", "file"])
@pytest.mark.parametrize(
    "value", ["../a/b", "/a/b", "a/../b", "a//b", "a/b/", "a b/c", "a/b#c", ""]
)
def test_names_that_lead_elsewhere_are_refused(key, value):
    with pytest.raises(ConfigError, match=f"base.{key}: "):
        validate({"source": "hub", "repository": REPOSITORY, key: value}, "base", "base")


def test_the_rules_script_exports_a_base_from_the_hub(tmp_path, hub, monkeypatch):
    """As a rule calls it, with the study's own settings; downloads go to data/weights."""
    published(hub[0], small_vit())
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FRUGALVIT_MIRROR", raising=False)
    study = load_study(
        {
            "study": "by_name",
            "dataset": {"source": "digits", "digits": {"canvas": 32}},
            "base": {"source": "hub", "repository": REPOSITORY, "image_size": 32},
            "experiments": {
                "frozen": {"method": "fine_tune", "schedule": [{"train": "head", "epochs": 1}]}
            },
        }
    )
    script = ROOT / "workflow" / "scripts" / "export_base.py"
    spec = importlib.util.spec_from_file_location("export_base", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    checked = tmp_path / "images_checked.json"
    checked.write_text('{"classes": 10}')
    job = SimpleNamespace(
        params=SimpleNamespace(
            base=study.config["base"],
            key="base",
            pretraining=None,
            asked=SimpleNamespace(value=job_params.checked_experiments(study)),
        ),
        input=SimpleNamespace(pretrained=[], checked=checked),
        output=SimpleNamespace(weights="base/weights.safetensors", card="base/card.json"),
        config=study.config,
    )
    module.main(job)
    assert load_card(tmp_path / "base")["origin"]["repository"] == REPOSITORY
    assert (tmp_path / "data" / "weights" / LOCAL).is_file()


@pytest.mark.workflow
def test_the_caltech_study_is_planned_before_anything_is_downloaded(tmp_path, hub):
    folder = copy_workflow(tmp_path)
    jobs = planned(folder, "--cores", "1", "--configfile", "config/studies/caltech256.yaml")
    assert (jobs["export_base"], jobs["download_dataset"], jobs["train_run"]) == (1, 1, 15)
    assert not hub[1]
    study = load_study(read_yaml(CALTECH))
    assert study.runs["avit_finetuned-s0"].source == "deit-s0"
    assert study.experiments["avit_finetuned"].evaluation["baseline"] == "deit_longer"
    own, baseline = (study.runs[f"{name}-s0"].settings for name in ("avit", "deit"))
    assert own["schedule"] == baseline["schedule"]
    assert own["stochastic_depth"] == baseline["stochastic_depth"] == 0.1
    assert own["schedule"][0]["augment"] == {"auto_augment": True}
