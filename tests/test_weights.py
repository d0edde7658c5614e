"""Converted weights against the models that they come from: outputs equal, whatever the naming."""

import pytest
import timm
import torch
from safetensors.torch import load_file as read_safetensors
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer as TimmViT
from torchvision.models import VisionTransformer
from transformers import (
    DeiTConfig,
    DeiTModel,
    Dinov2Config,
    Dinov2Model,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)

from frugalvit.errors import WeightsError
from frugalvit.models.backbone import build, class_token
from frugalvit.models.weights.load import load_file

TOLERANCE = {"atol": 1e-4, "rtol": 0}
SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 4}
HUGGING_FACE = {
    "image_size": 32,
    "patch_size": 8,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}


def scatter(model, seed=0):
    """Give every parameter values that a wrong conversion could not hide behind."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            scale = any(word in name for word in ("gamma", "lambda", "norm"))
            centre = 0.7 if scale and not name.endswith("bias") else 0.0
            parameter.copy_(centre + 0.15 * noise)
    return model.eval()


def draw(size, count=3):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(7))


def write(path, state):
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    return path


@torch.no_grad()
def converted_class_token(path, images, num_heads=None):
    state, architecture, info = load_file(path, image_size=images.shape[-1], num_heads=num_heads)
    model = build(architecture, 0).eval()
    model.load_state_dict(state)
    return class_token(model, images), info


@torch.no_grad()
def test_torchvisions_own_naming_is_exact(tmp_path):
    torch.manual_seed(0)
    model = scatter(VisionTransformer(32, 8, 2, 4, 32, 48, num_classes=7))
    path = tmp_path / "m.pth"
    torch.save(model.state_dict(), path)
    state, architecture, info = load_file(path, image_size=32, num_heads=4)
    ours = build(architecture, 7).eval()
    ours.load_state_dict(state, strict=False)
    ours.heads.load_state_dict(model.heads.state_dict())
    torch.testing.assert_close(ours(draw(32)), model(draw(32)), rtol=0, atol=1e-5)
    assert info["naming"] == "torchvision"
    assert all(torch.equal(state[name], model.state_dict()[name]) for name in state)


def test_torchvisions_published_files_have_older_names(tmp_path):
    torch.manual_seed(0)
    model = VisionTransformer(32, 8, 2, 4, 32, 48)
    old = {
        name.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): tensor
        for name, tensor in model.state_dict().items()
    }
    assert old.keys() != model.state_dict().keys()
    state, _, _ = load_file(write(tmp_path / "m.st", old), image_size=32, num_heads=4)
    assert all(torch.equal(state[name], model.state_dict()[name]) for name in state)


@torch.no_grad()
@pytest.mark.parametrize(
    "changes",
    [{}, {"init_values": 0.1}, {"qkv_bias": False}, {"no_embed_class": True}, {"num_classes": 0}],
    ids=["plain", "layer_scale", "no_qkv_bias", "no_embed_class", "no_head"],
)
def test_timm(tmp_path, changes):
    model = scatter(TimmViT(**{"num_classes": 5, **SMALL, **changes}))
    path = write(tmp_path / "m.safetensors", model.state_dict())
    ours, info = converted_class_token(path, draw(32), num_heads=4)
    torch.testing.assert_close(ours, model.forward_features(draw(32))[:, 0], **TOLERANCE)
    assert info["naming"] == "timm"
    assert info["layer_scale"] == ("init_values" in changes)


@torch.no_grad()
def test_deit_tiny(tmp_path):
    torch.manual_seed(0)
    model = timm.create_model("deit_tiny_patch16_224", pretrained=False).eval()
    path = write(tmp_path / "m.safetensors", model.state_dict())
    images = draw(224, 2)
    ours, _ = converted_class_token(path, images)  # 192 wide: 3 heads, unsaid
    torch.testing.assert_close(ours, model.forward_features(images)[:, 0], **TOLERANCE)


@torch.no_grad()
def test_distilled_deit_without_its_distillation_token(tmp_path):
    model = timm.create_model(
        "deit_tiny_distilled_patch16_224", depth=3, img_size=32, pretrained=False
    )
    scatter(model)
    path = tmp_path / "deit.pth"
    torch.save({"model": model.state_dict()}, path)
    ours, info = converted_class_token(path, draw(32))
    # timm's own modules, fed without the distillation token and its position
    tokens = model.patch_embed(draw(32))
    tokens = torch.cat([model.cls_token.expand(3, -1, -1), tokens], dim=1)
    positions = torch.cat([model.pos_embed[:, :1], model.pos_embed[:, 2:]], dim=1)
    theirs = model.norm(model.blocks(tokens + positions))[:, 0]
    torch.testing.assert_close(ours, theirs, **TOLERANCE)
    assert info["distillation_token"]


@torch.no_grad()
def test_positions_are_resampled_as_timm_does(tmp_path):
    """DINOv2's style: LayerScale, a mask token, saved at 56 px and used at 32 px."""
    large = scatter(TimmViT(**{**SMALL, "img_size": 56, "num_classes": 0, "init_values": 0.1}))
    state = {**large.state_dict(), "mask_token": torch.zeros(1, 32)}
    path = write(tmp_path / "m.safetensors", state)
    small = TimmViT(**{**SMALL, "num_classes": 0, "init_values": 0.1}).eval()
    resampled = {"pos_embed": resample_abs_pos_embed(large.pos_embed, [4, 4])}
    small.load_state_dict({**large.state_dict(), **resampled})
    ours, info = converted_class_token(path, draw(32), num_heads=4)
    torch.testing.assert_close(ours, small.forward_features(draw(32))[:, 0], **TOLERANCE)
    assert (info["positions_from"], info["positions_to"]) == (7, 4)


@torch.no_grad()
def test_dinov2_as_facebook_saves_it(tmp_path):
    """Blocks in chunks, under `teacher` and `backbone.`, beside a projection head."""
    model = scatter(TimmViT(**SMALL, num_classes=0, init_values=0.1))
    state = {
        "backbone." + name.replace("blocks.", "blocks.0."): tensor
        for name, tensor in model.state_dict().items()
    }
    path = tmp_path / "m.pth"
    torch.save({"teacher": {**state, "dino_head.mlp.0.weight": torch.zeros(2, 2)}}, path)
    ours, _ = converted_class_token(path, draw(32), num_heads=4)
    torch.testing.assert_close(ours, model.forward_features(draw(32))[:, 0], **TOLERANCE)


@torch.no_grad()
@pytest.mark.parametrize("saved", ["in memory", "as on the hub"])
@pytest.mark.parametrize("prefix", ["", "vit."])
def test_hugging_face_vit(tmp_path, saved, prefix):
    config = ViTConfig(**HUGGING_FACE)
    outer = scatter(ViTForImageClassification(config) if prefix else ViTModel(config))
    if saved == "in memory":
        path = write(tmp_path / "model.safetensors", outer.state_dict())
    else:
        outer.save_pretrained(tmp_path)
        path = tmp_path / "model.safetensors"
    assert all(name.startswith((prefix, "classifier")) for name in read_safetensors(path))
    model = outer.vit if prefix else outer
    ours, info = converted_class_token(path, draw(32), num_heads=4)
    theirs = model(pixel_values=draw(32)).last_hidden_state[:, 0]
    torch.testing.assert_close(ours, theirs, **TOLERANCE)
    assert info["naming"] == "Hugging Face"


def test_hugging_face_names_of_the_hub_are_the_older_ones(tmp_path):
    """What the test above relies on: the two namings differ, and both were tried."""
    model = ViTModel(ViTConfig(**HUGGING_FACE))
    model.save_pretrained(tmp_path)
    names = set(read_safetensors(tmp_path / "model.safetensors"))
    assert "encoder.layer.0.attention.attention.query.weight" in names
    assert "layers.0.attention.q_proj.weight" in model.state_dict()


@torch.no_grad()
def test_hugging_face_vit_has_its_own_eps(tmp_path):
    """On inputs of tiny variance 1e-12 and 1e-6 differ."""
    model = scatter(ViTModel(ViTConfig(**HUGGING_FACE)))
    for name in ("cls_token", "position_embeddings"):
        getattr(model.embeddings, name).mul_(1e-4)
    model.embeddings.patch_embeddings.projection.weight.mul_(1e-4)
    model.embeddings.patch_embeddings.projection.bias.mul_(1e-4)
    path = write(tmp_path / "m.safetensors", model.state_dict())
    ours, _ = converted_class_token(path, draw(32), num_heads=4)
    theirs = model(pixel_values=draw(32)).last_hidden_state[:, 0]
    torch.testing.assert_close(ours, theirs, **TOLERANCE)


@torch.no_grad()
@pytest.mark.parametrize("saved", ["in memory", "as on the hub"])
def test_hugging_face_dinov2(tmp_path, saved):
    width = HUGGING_FACE["intermediate_size"] // HUGGING_FACE["hidden_size"]
    model = scatter(Dinov2Model(Dinov2Config(**HUGGING_FACE, mlp_ratio=width)))
    if saved == "in memory":
        path = write(tmp_path / "model.safetensors", model.state_dict())
    else:
        model.save_pretrained(tmp_path)
        path = tmp_path / "model.safetensors"
    ours, info = converted_class_token(path, draw(32), num_heads=4)
    theirs = model(pixel_values=draw(32)).last_hidden_state[:, 0]
    torch.testing.assert_close(ours, theirs, **TOLERANCE)
    assert info["layer_scale"]


@torch.no_grad()
def test_hugging_face_deit_drops_its_distillation_token(tmp_path):
    model = scatter(DeiTModel(DeiTConfig(**HUGGING_FACE)))
    path = write(tmp_path / "model.safetensors", model.state_dict())
    ours, info = converted_class_token(path, draw(32), num_heads=4)
    embeddings = model.embeddings
    tokens = embeddings.patch_embeddings(draw(32))
    tokens = torch.cat([embeddings.cls_token.expand(3, -1, -1), tokens], dim=1)
    positions = embeddings.position_embeddings
    tokens = tokens + torch.cat([positions[:, :1], positions[:, 2:]], dim=1)
    for layer in model.layers:
        tokens = layer(tokens)
    torch.testing.assert_close(ours, model.layernorm(tokens)[:, 0], **TOLERANCE)
    assert info["distillation_token"]


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_float32(tmp_path, dtype):
    model = scatter(TimmViT(**SMALL, num_classes=0, init_values=0.1)).to(dtype)
    path = write(tmp_path / "m.safetensors", model.state_dict())
    state, _, _ = load_file(path, image_size=32, num_heads=4)
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}
    ours, _ = converted_class_token(path, draw(32), num_heads=4)
    theirs = model.float().forward_features(draw(32))[:, 0]
    torch.testing.assert_close(ours, theirs, **TOLERANCE)


@torch.no_grad()
@pytest.mark.parametrize("nest", ["model", "state_dict"])
def test_checkpoints_of_data_parallel_training(tmp_path, nest):
    model = scatter(TimmViT(**SMALL, num_classes=5))
    state = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
    path = tmp_path / "m.pt"
    torch.save({"epoch": 3, nest: state, "optimizer": {"lr": 0.1}}, path)
    ours, _ = converted_class_token(path, draw(32), num_heads=4)
    torch.testing.assert_close(ours, model.forward_features(draw(32))[:, 0], **TOLERANCE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reg_tokens": 4}, "register tokens; take the variant without"),
        ({"qk_norm": True}, "a norm on queries and keys"),
        ({"pre_norm": True}, "a norm before its blocks"),
        ({"global_pool": "avg"}, "a norm after average pooling"),
        ({"mlp_layer": timm.layers.SwiGLUPacked}, "a SwiGLU MLP"),
        ({"mlp_layer": timm.layers.SwiGLU}, "a SwiGLU MLP"),
        ({"class_token": False, "global_pool": "avg", "fc_norm": False}, "class_token is missing"),
        ({"in_chans": 1}, "does not read square RGB patches"),
        ({"patch_size": (4, 8)}, "does not read square RGB patches"),
    ],
)
def test_variants_that_torchvision_cannot_compute_are_refused(tmp_path, changes, message):
    model = TimmViT(**{**SMALL, "num_classes": 5, "depth": 1, **changes})
    path = write(tmp_path / "m.safetensors", model.state_dict())
    with pytest.raises(WeightsError, match=f"{path}: .*{message}"):
        load_file(path, image_size=32, num_heads=4)


@torch.no_grad()
@pytest.mark.parametrize("size", [518, 224])
def test_the_real_vit_small(mirror, size):
    path = mirror / "vit_small_patch14_saliency.safetensors"
    if not path.is_file():
        pytest.skip(f"FRUGALVIT_MIRROR has no {path.name}")
    theirs = timm.create_model("vit_small_patch14_dinov2", img_size=size, num_classes=0).eval()
    raw = {name: tensor.float() for name, tensor in read_safetensors(path).items()}
    raw["pos_embed"] = resample_abs_pos_embed(raw["pos_embed"], [size // 14, size // 14])
    theirs.load_state_dict(raw)
    images = draw(size, 1)
    ours, info = converted_class_token(path, images)
    torch.testing.assert_close(ours, theirs.forward_features(images)[:, 0], **TOLERANCE)
    assert (info["positions_from"], info["positions_to"]) == (37, size // 14)
