"""Weights files that are broken, hostile or another model: one clear line; files of our own."""

import io
import os
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import VisionTransformer, resnet18

from frugalvit.errors import WeightsError
from frugalvit.files import sha256_file
from frugalvit.models.backbone import build
from frugalvit.models.weights.load import load_file, random
from frugalvit.models.weights.tensors import load_into, read_tensors, save

ARCHITECTURE = {
    "image_size": 16,
    "patch_size": 8,
    "num_layers": 2,
    "num_heads": 2,
    "hidden_dim": 16,
    "mlp_dim": 24,
}


def load(path, **changes):
    return load_file(path, **{"image_size": 16, "num_heads": 2, **changes})


def refused(path, message, **changes):
    with pytest.raises(WeightsError, match=message) as caught:
        load(path, **changes)
    line = str(caught.value)
    assert line.startswith(str(path))
    assert "\n" not in line
    assert len(line) < 400


@pytest.fixture
def state():
    return random(ARCHITECTURE)


@pytest.fixture
def good(tmp_path, state):
    save(tmp_path / "good.safetensors", state)
    return tmp_path / "good.safetensors"


@pytest.fixture
def good_pickle(tmp_path, state):
    torch.save(state, tmp_path / "good.pth")
    return tmp_path / "good.pth"


def test_missing_and_empty(tmp_path):
    refused(tmp_path / "none.pth", "no such file; correct the path")
    (tmp_path / "empty.pth").touch()
    refused(tmp_path / "empty.pth", "the file is empty; fetch it again")


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("kind", ["good", "good_pickle", "legacy"])
def test_truncated(tmp_path, request, kind, share, state):
    if kind == "legacy":
        path = tmp_path / "legacy.pth"
        torch.save(state, path, _use_new_zipfile_serialization=False)
    else:
        path = request.getfixturevalue(kind)
    content = path.read_bytes()
    path.write_bytes(content[: max(10, int(len(content) * share))])
    refused(path, "truncated|broken")


def test_wrong_checksum(good):
    load(good, sha256=sha256_file(good).upper())
    refused(good, "its SHA-256 is .* not 000000000000… as stated", sha256="0" * 64)


class Exploit:
    """What pickle does when it loads this: run a command."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_pickle_does_not_run(tmp_path, state, legacy):
    witness = tmp_path / "ran"
    path = tmp_path / "evil.pth"
    torch.save({**state, "x": Exploit(witness)}, path, _use_new_zipfile_serialization=not legacy)
    refused(path, r"more than tensors \(.*system\), which could run code")
    assert not witness.exists()


def test_a_whole_pickled_model_says_how_to_save_it(tmp_path):
    torch.save(VisionTransformer(**ARCHITECTURE), tmp_path / "BASIC_MODEL.pt")
    refused(tmp_path / "BASIC_MODEL.pt", r"VisionTransformer\).*save the model's state_dict\(\)")


def test_torchscript_is_not_run(tmp_path):
    torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(tmp_path / "m.pt")
    refused(tmp_path / "m.pt", "a TorchScript program, not weights")


def test_files_that_hold_no_weights(tmp_path):
    for name, content, message in (
        ("page.pth", b"<!DOCTYPE html>\n<html>" + b" " * 100, "text, not weights"),
        ("lfs.safetensors", b"version https://git-lfs.github.com/spec/v1\noid x\n", "LFS pointer"),
        ("noise.bin", bytes(range(200, 256)) * 9, "neither a safetensors file nor a torch"),
        ("short.bin", b"\x00", "neither a safetensors"),
        ("head.safetensors", b"\x09" + bytes(7) + b"{nonsense}", "broken or truncated"),
    ):
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, message)
    with zipfile.ZipFile(tmp_path / "jax.npz", "w") as archive:
        buffer = io.BytesIO()
        np.save(buffer, np.zeros(3))
        archive.writestr("Transformer.npy", buffer.getvalue())
    refused(tmp_path / "jax.npz", "no torch checkpoint")
    loop: dict = {}
    loop["model"] = loop
    for name, value in (("n.pth", 3), ("l.pth", [torch.zeros(2)]), ("loop.pth", loop)):
        torch.save(value, tmp_path / name)
        refused(tmp_path / name, "no tensors by name")


def test_other_networks(tmp_path):
    torch.save(resnet18().state_dict(), tmp_path / "resnet.pth")
    refused(tmp_path / "resnet.pth", "no ViT in the naming of torchvision, timm or Hugging Face")
    import timm

    swin = timm.create_model("swin_tiny_patch4_window7_224", pretrained=False, depths=(1, 1, 1, 1))
    save_file(swin.state_dict(), tmp_path / "swin.safetensors")
    refused(tmp_path / "swin.safetensors", "has relative positions|no plain ViT")


def test_two_models_in_one_file(tmp_path, state):
    both = {f"{role}.{name}": t for role in ("student", "teacher") for name, t in state.items()}
    save(tmp_path / "two.safetensors", both)
    refused(tmp_path / "two.safetensors", r"2 models \(prefixes '(student|teacher)\.'")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("encoder.ln.weight", r"has no final norm \(encoder.ln.weight\): .* is not supported"),
        ("encoder.layers.encoder_layer_1.mlp.3.bias", "1 tensors are missing .* incomplete; fetch"),
        ("encoder.layers.encoder_layer_0.mlp.0.weight", "is missing"),
        ("class_token", "class_token is missing: no ViT with a class token"),
        ("conv_proj.bias", r"has no bias in its patch projection .* is not supported"),
    ],
)
def test_missing_tensors(tmp_path, state, name, message):
    del state[name]
    save(tmp_path / "m.safetensors", state)
    refused(tmp_path / "m.safetensors", message)


def test_models_built_without_are_not_called_incomplete(tmp_path, state):
    for kind in ("self_attention.out_proj.bias", "encoder.ln.bias", "ln_2.weight"):
        without = {name: tensor for name, tensor in state.items() if not name.endswith(kind)}
        save(tmp_path / "m.safetensors", without)
        refused(tmp_path / "m.safetensors", f"{kind}.*built without; such a model is not supported")


def test_a_missing_block(tmp_path, state):
    state = {
        name.replace("encoder_layer_1", "encoder_layer_999999999"): t for name, t in state.items()
    }
    save(tmp_path / "m.safetensors", state)
    refused(tmp_path / "m.safetensors", "block 2 is missing: the file is incomplete")


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("encoder.ln.weight", torch.ones(17), r"has the shape \(17,\), not \(16,\)"),
        ("encoder.pos_embedding", torch.ones(1, 7, 16), "7 positions are not those of a square"),
        ("encoder.pos_embedding", torch.ones(5, 16), "are no \\[1, tokens, dim\\]"),
        ("encoder.ln.bias", torch.full((16,), float("nan")), "no finite floating-point"),
        ("encoder.ln.bias", torch.zeros(16, dtype=torch.int64), "no finite floating-point"),
        ("encoder.ln.bias", torch.tensor(1.0), "encoder.ln.bias is a single number"),
        ("encoder.layers.encoder_layer_0.mlp.0.weight", torch.tensor(1.0), "is a single number"),
        ("encoder.layers.encoder_layer_0.mlp.0.weight", torch.zeros(0, 16), "mlp_dim: 0 is not"),
        ("class_token", torch.tensor(1.0), "class_token is a single number"),
        ("conv_proj.weight", torch.zeros(16, 3, 0, 0), "does not read square RGB patches"),
        ("conv_proj.weight", torch.zeros(16), "does not read square RGB patches"),
        ("encoder.something", torch.zeros(1), "no plain ViT: 1 tensors have no place"),
        ("encoder.layers.encoder_layer_01.ln_1.bias", torch.zeros(16), "two tensors are encoder"),
        ("encoder.layers.encoder_layer_٣.ln_1.bias", torch.zeros(16), "have no place"),
        (f"encoder.layers.encoder_layer_{'9' * 5000}.x", torch.zeros(1), "is no name that a ViT"),
        ("a\nb\x1b[31m", torch.zeros(1), r"the name 'a\\nb\\x1b\[31m' of a tensor"),
    ],
)
def test_misshapen_tensors(tmp_path, state, name, tensor, message):
    save(tmp_path / "m.safetensors", {**state, name: tensor})
    refused(tmp_path / "m.safetensors", message)


def test_tensors_that_are_not_what_they_seem(tmp_path, state):
    path, one = tmp_path / "m.pth", "conv_proj.bias"
    for tensor, message in (
        (torch.quantize_per_tensor(state[one], 0.1, 0, torch.qint8), f"{one} is quantized"),
        (torch.zeros(1).expand(10**6, 10**6), f"claim 4.0e\\+12 bytes .*{one}.*expanded"),
        (state[one].to_sparse(), f"{one} is no dense tensor"),
        (torch.zeros(16, device="meta"), f"{one} is no dense tensor"),
        (torch.zeros(16, dtype=torch.complex64), "no finite floating-point"),
    ):
        torch.save({**state, one: tensor}, path)
        refused(path, message)


def test_a_name_that_stands_twice_in_a_header(good):
    content = good.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length].replace(b'"encoder.ln.bias"', b'"class_token"')
    good.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])
    refused(good, "its header names 'class_token' twice")


@pytest.mark.parametrize("key", ["model_ema", "state_dict_ema"])
def test_averaged_weights_serve_where_no_others_are(tmp_path, state, key):
    path = tmp_path / "m.pth"
    torch.save({"step": torch.tensor(3), "model": None, key: state}, path)
    read, _, info = load(path)
    assert torch.equal(read["class_token"], state["class_token"])
    assert info["under"] == key
    torch.save({"model": state, key: {name: t + 1 for name, t in state.items()}}, path)
    read, _, info = load(path)
    assert torch.equal(read["class_token"], state["class_token"])
    assert info["under"] == "model"


def test_changed_bytes_of_a_checkpoint_are_noticed(good_pickle):
    """torch compares no checksum; a file of another tool, whose own are wrong, has base.sha256."""
    content = good_pickle.read_bytes()
    generator = np.random.default_rng(0)
    with zipfile.ZipFile(good_pickle) as archive:
        names = [name for name in archive.namelist() if "/data/" in name]
        at = [content.index(archive.read(name)[:64]) for name in names]
    for start in at:
        changed = bytearray(content)
        changed[start + int(generator.integers(16))] ^= 1 << int(generator.integers(8))
        good_pickle.write_bytes(changed)
        refused(good_pickle, "were changed since it was saved")
    load(good_pickle, sha256=sha256_file(good_pickle))


def test_records_that_grow_when_they_are_read(tmp_path, good_pickle):
    path = tmp_path / "small.pth"
    with zipfile.ZipFile(good_pickle) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name), zipfile.ZIP_DEFLATED)
    refused(path, "compressed or overlap")


def test_what_the_study_states_must_fit(good):
    refused(good, "image_size 20 px is not a multiple of its patch size 8: take 16", image_size=20)
    refused(good, "hidden_dim 16 is not 64 per head: state base.architecture", num_heads=None)
    refused(good, "num_heads: 3 does not divide its hidden_dim 16", num_heads=3)
    refused(good, "its num_layers is 2, not 12 as stated", expected={"num_layers": 12})
    load(good, expected={"num_layers": 2, "hidden_dim": None})


def test_equal_weights_give_equal_files(tmp_path, state):
    save(tmp_path / "a.safetensors", state)
    save(tmp_path / "b.safetensors", dict(reversed(state.items())))
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors"]
    back = read_tensors(tmp_path / "a.safetensors")
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_views_of_one_storage_are_saved_apart(tmp_path):
    both = torch.arange(6.0)
    save(tmp_path / "m.safetensors", {"a": both[:3], "b": both[::2], "c": both})
    assert read_tensors(tmp_path / "m.safetensors")["b"].tolist() == [0, 2, 4]


def test_random_weights_follow_their_seed_and_move_nothing():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, two, other = random(ARCHITECTURE, 1), random(ARCHITECTURE, 1), random(ARCHITECTURE, 2)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["conv_proj.weight"], other["conv_proj.weight"])


def test_loading_into_a_model_keeps_its_head(good, state):
    model = build(ARCHITECTURE, 3)
    torch.nn.init.ones_(model.heads.head.bias)
    load_into(model, good)
    assert torch.equal(model.conv_proj.weight, state["conv_proj.weight"])
    assert model.heads.head.bias.tolist() == [1, 1, 1]


def test_loading_into_another_model_is_one_line(tmp_path, good):
    with pytest.raises(WeightsError, match="was made for another architecture"):
        load_into(build({**ARCHITECTURE, "num_layers": 3}, 3), good)
    with pytest.raises(WeightsError, match=r"1 tensors are not those.*mlp\.0\.bias"):
        state = read_tensors(good)
        del state["encoder.layers.encoder_layer_0.mlp.0.bias"]
        save(tmp_path / "m.safetensors", state)
        load_into(build(ARCHITECTURE, 0), tmp_path / "m.safetensors")
    model = build(ARCHITECTURE, 4)
    save(tmp_path / "trained.safetensors", model.state_dict())
    with pytest.raises(WeightsError, match=r"heads\.head"):
        load_into(build(ARCHITECTURE, 3), tmp_path / "trained.safetensors")
