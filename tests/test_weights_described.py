"""What no tensor tells of a ViT: heads, activation, pooling, rotary positions, normalisation."""

import json
import re
import sys

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models._hub import save_config_for_hf
from torchvision.models import VisionTransformer
from transformers import ViTConfig, ViTModel

from frugalvit.config.sized_bases import base_stamp
from frugalvit.config.study import load_study
from frugalvit.errors import ConfigError, WeightsError
from frugalvit.models.weights.load import load_file
from frugalvit.models.weights.shapes import KNOWN_HEADS, choose_heads
from tests.sweep_weights import scattered, sweep

NAME = "vit_tiny_patch16_224"


def write(folder, model=None, name="model.safetensors", **config):
    """A small timm ViT of 4 heads, 16 wide, and a `config.json` where one is given."""
    folder.mkdir(exist_ok=True)
    model = model or make()
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / name)
    if config:
        (folder / "config.json").write_text(json.dumps(config))
    return folder / name


def make(name=NAME, **changes):
    return timm.create_model(
        name, **{"depth": 1, "embed_dim": 64, "num_heads": 4, "img_size": 32, **changes}
    )


def load(path, **changes):
    return load_file(path, **{"image_size": 32, **changes})


@pytest.mark.parametrize(
    ("shape", "heads"),
    [((1280, 32, 5120), 16), ((1408, 40, 6144), 16), ((1664, 48, 8192), 16), ((64, 6, 192), 2)],
)
def test_published_shapes_whose_heads_are_not_64_wide(shape, heads):
    assert choose_heads(shape, None, None, "") == (heads, "known of this shape")
    stated = choose_heads(shape, 4, None, "")
    assert stated.number == 4


def test_the_table_of_heads_agrees_with_timm():
    checked = 0
    for name in (
        "deit3_huge_patch14_224",
        "vit_huge_patch14_224",
        "vit_giant_patch14_224",
        "vit_gigantic_patch14_224",
        "vit_so400m_patch14_siglip_224",
        "test_vit",
        "test_vit2",
        "test_vit3",
        "test_vit4",
    ):
        with torch.device("meta"):
            model = timm.create_model(name)
        block = model.blocks[0]
        shape = (model.embed_dim, len(model.blocks), block.mlp.fc1.out_features)
        assert KNOWN_HEADS[shape] == block.attn.num_heads
        checked += 1
    assert checked >= len(KNOWN_HEADS)


def test_a_wide_model_of_no_known_shape_needs_its_heads_said():
    with pytest.raises(WeightsError, match=r"nothing tells .* 1280 wide.*architecture.num_heads"):
        choose_heads((1280, 12, 5120), None, None, "")
    assert choose_heads((1280, 12, 5120), None, 20, "config.json").number == 20
    assert choose_heads((1024, 24, 4096), None, None, "").why.startswith("assumed: 64 wide")


def test_a_known_shape_is_known_in_every_librarys_naming(tmp_path):
    """That of timm's test_vit, as ViT-H's is: 2 heads, where 64 wide ones would be 1."""
    hugging_face = ViTConfig(
        hidden_size=64, num_hidden_layers=6, num_attention_heads=2, intermediate_size=192
    )
    for model in (
        timm.create_model("test_vit"),
        ViTModel(hugging_face),
        VisionTransformer(32, 16, 6, 2, 64, 192),
    ):
        path = write(tmp_path, model)
        _, architecture, info = load(path)
        assert architecture["num_heads"] == 2
        assert info["taken"]["num_heads"] == "2, known of this shape"


def test_hugging_faces_config_beside_the_file(tmp_path):
    """As its `save_pretrained` writes it: heads that 64 does not give, and another eps."""
    config = ViTConfig(
        hidden_size=64,
        num_attention_heads=4,
        num_hidden_layers=1,
        intermediate_size=96,
        image_size=32,
        layer_norm_eps=1e-3,
    )
    ViTModel(config).save_pretrained(tmp_path)
    _, architecture, info = load(tmp_path / "model.safetensors")
    assert (architecture["num_heads"], architecture["eps"]) == (4, 1e-3)
    assert info["taken"]["num_heads"] == "4, as config.json says"
    config.hidden_act = "quick_gelu"
    ViTModel(config).save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match=r"config.json: hidden_act: the activation 'quick_gelu'"):
        load(tmp_path / "model.safetensors")


def test_a_config_beside_a_file_of_the_mirror(tmp_path):
    """Named as the hub's are in the mirror, for there is more than one model in it."""
    path = write(tmp_path, name="owner--one--model.safetensors")
    (tmp_path / "config.json").write_text('{"model_type": "vit", "num_attention_heads": 2}')
    assert load(path)[1]["num_heads"] == 1
    (tmp_path / "owner--one--config.json").write_text(
        '{"model_type": "vit", "num_attention_heads": 4}'
    )
    assert load(path)[1]["num_heads"] == 4


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"global_pool": "avg"}, "global_pool: its head reads 'avg'; take a model that reads"),
        ({"global_pool": "map\n"}, r"its head reads 'map\\n'"),
        ({"model_args": {"act_layer": "relu"}}, "model_args.act_layer: the activation 'relu'"),
        ({"architecture": "vit_base_patch16_clip_quickgelu_224"}, "activation QuickGELU"),
        ({"architecture": "vit_base_patch16_rope_ape_224.x"}, "tells of rotary positions"),
        ({"architecture": ["vit"]}, "architecture: not a name"),
        ({"num_features": 768}, "its hidden_dim is 64, but config.json beside it says 768"),
        ({"model_args": {"num_heads": 3}}, "config.json: num_heads: 3 does not divide"),
        ({"model_args": {"num_heads": "four"}}, "num_heads: four is no positive whole number"),
        ({"model_args": {"num_heads": -1}}, "num_heads: -1 is no positive whole number"),
        ({"pretrained_cfg": {"mean": [0.5], "std": [0.5]}}, "are no numbers of three channels"),
        ({"pretrained_cfg": {"mean": [0.5] * 3, "std": [0] * 3}}, "std: .* are no numbers"),
        ({"pretrained_cfg": {"mean": [float("nan")] * 3, "std": [1] * 3}}, "mean: .* are no"),
    ],
)
def test_a_config_that_says_what_cannot_be(tmp_path, config, message):
    path = write(tmp_path, **{"architecture": NAME, **config})
    with pytest.raises(WeightsError, match=message) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path))


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe{", b"[" * 100_000, b"[]", b'{"a": ' + b"9" * 5000 + b"}"]
)
def test_a_config_that_is_broken(tmp_path, content):
    path = write(tmp_path)
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(WeightsError, match=r"config.json: .*mend it") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_a_config_of_something_else_says_nothing(tmp_path):
    path = write(tmp_path, lr=0.1)
    taken = load(path)[2]["taken"]
    assert taken["num_heads"].startswith("1, assumed: 64 wide each")
    assert load(path)[2]["described_by"] == []


def test_the_study_and_the_config_must_not_contradict_each_other(tmp_path):
    path = write(tmp_path, architecture=NAME, model_args={"num_heads": 4})
    with pytest.raises(WeightsError, match=r"num_heads: 2, but config.json says 4: correct it"):
        load(path, num_heads=2)


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("vit_base_patch16_rope_ape_224.naver_in1k", "rotary"),
        ("timm--vit_large_patch14_clip_quickgelu_224.openai--model", "QuickGELU"),
        ("vit_base_patch16_gap_224", "average pooling"),
        ("europe_gap_study", None),
        ("vit_base_singapore", None),
    ],
)
def test_what_a_files_name_tells(tmp_path, name, refused):
    path = write(tmp_path, name=f"{name}.safetensors")
    if refused:
        with pytest.raises(WeightsError, match=f"{re.escape(str(path))}: its name.*{refused}"):
            load(path)
    else:
        load(path)


def test_timms_own_model_agrees(tmp_path):
    model = scattered(make(embed_dim=192, num_heads=3))
    path = write(tmp_path, model)
    save_config_for_hf(model, tmp_path / "config.json")
    content = json.loads((tmp_path / "config.json").read_text())
    content["architecture"] = "test_vit"
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(WeightsError, match=r"base.check: timm's test_vit"):
        load(path, check="timm")


@pytest.mark.parametrize("name", ["test_vit", "owner--test_vit.r160_in1k--model"])
def test_timms_own_model_agrees_by_a_files_name(tmp_path, name):
    path = write(tmp_path, scattered(timm.create_model("test_vit")), f"{name}.safetensors")
    torch.manual_seed(3)
    before = torch.get_rng_state()
    info = load(path, image_size=64, check="timm")[2]
    assert info["checked"]["architecture"] == "test_vit"
    assert info["checked"]["largest_difference"] < 1e-4
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(WeightsError, match="timm's own test_vit answers otherwise"):
        load(path, image_size=64, check="timm", num_heads=1)


def test_a_check_that_cannot_be_made_is_one_line(tmp_path, monkeypatch):
    path = write(tmp_path)
    with pytest.raises(ConfigError, match=r"base.check: timm has no architecture model: put its"):
        load(path, check="timm")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match=r"base.check: timm is not installed: install it"):
        load(path, check="timm")
    study = {"study": "a", "dataset": {"source": "digits"}}
    study["experiments"] = {
        "x": {"method": "fine_tune", "schedule": [{"train": "head", "epochs": 1}]}
    }
    study["base"] = {"source": "torchvision", "model": "vit_b_16", "check": "timm"}
    with pytest.raises(ConfigError, match=r"base.check: base.source torchvision brings no weights"):
        load_study(study)


def stamp(study):
    return base_stamp(study.bases["base"], study.mirror)


def test_a_changed_config_remakes_the_base(tmp_path):
    path = write(tmp_path)
    study = {
        "study": "a",
        "dataset": {"source": "digits", "digits": {"canvas": 32}},
        "base": {"source": "file", "file": str(path), "image_size": 32},
        "experiments": {"x": {"method": "fine_tune", "schedule": [{"train": "head", "epochs": 1}]}},
    }
    before = stamp(load_study(study))
    (tmp_path / "config.json").write_text("{}")
    assert stamp(load_study(study))[:3] == before
    assert len(stamp(load_study(study))) == 6


@pytest.mark.parametrize(
    ("name", "fates"),
    [
        ("test_vit", {"right"}),
        ("deit_tiny_distilled_patch16_224", {"right"}),
        ("vit_base_patch16_rope_ape_224", {"refused", "assumed"}),
        ("levit_128s", {"refused"}),
    ],
)
def test_the_sweep_tells_right_from_wrong(name, fates):
    """`make sweep-weights` does so with all of timm's; these show that it can fail and does not."""
    model = timm.create_model(name) if name == "levit_128s" else timm.create_model(name, depth=1)
    ways = {way: sweep(name, scattered(model), way) for way in ("config.json", "name", "nothing")}
    assert {read.fate for read in ways.values()} == fates
