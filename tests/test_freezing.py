"""Freezing: what trains under each phase, in which mode, how fast; and that the rest stays put."""

import logging

import pytest
import torch

from frugalvit.errors import ConfigError
from frugalvit.models.backbone import build, parameter_part
from frugalvit.training.freezing import (
    apply_freeze,
    freeze_check,
    freeze_lines,
    freeze_report,
    freeze_tables,
    parameter_groups,
    set_modes,
    train_label,
    trainable_parts,
)

ARCHITECTURE = {
    "image_size": 8,
    "patch_size": 4,
    "num_layers": 12,
    "num_heads": 2,
    "hidden_dim": 8,
    "mlp_dim": 8,
}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return build(ARCHITECTURE, 3, dropout=0.5)


def test_the_last_six_of_twelve_blocks():
    parts = trainable_parts({"blocks": 6}, 12, ["exits"])
    assert parts == [*(f"block {k}" for k in range(7, 13)), "norm", "head", "exits"]
    assert trainable_parts("head", 12) == ["head"]
    assert trainable_parts("heads", 12, ["exits"]) == ["head", "exits"]
    assert trainable_parts("exits", 12, ["exits"]) == ["exits"]
    assert trainable_parts("all", 12)[:3] == ["patch_embedding", "positions", "block 1"]
    # All blocks is less than all: the embeddings stay.
    assert trainable_parts({"blocks": 12}, 12)[0] == "block 1"


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"blocks": 13}, "^'blocks: 13' but the base has 12 blocks$"),
        ({"blocks": 0}, "trains no block: write 'head'"),
        ({"blocks": True}, "none of 'head', 'heads', 'all'"),
        ("exits", "'exits' is none of"),
        ("tail", "'tail' is none of"),
        ({"block": 2}, "is none of"),
    ],
)
def test_wrong_trains_are_one_line(train, message):
    with pytest.raises(ConfigError, match=message):
        trainable_parts(train, 12)


def test_labels():
    assert [train_label(t) for t in ("head", {"blocks": 6}, "all")] == ["head", "blocks: 6", "all"]


@pytest.mark.parametrize("train", ["head", {"blocks": 6}, "all"])
def test_only_what_trains_changes(model, train):
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    apply_freeze(model, train)
    set_modes(model)
    optimizer = torch.optim.AdamW(parameter_groups(model, train, lr=0.1, weight_decay=0.1))
    images = torch.randn(6, 3, 8, 8)
    for _ in range(2):  # the head starts at zero: nothing below it gets a gradient at first
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), torch.arange(6) % 3).backward()
        optimizer.step()
    parts = set(trainable_parts(train, 12))
    for name, parameter in model.named_parameters():
        changed = not torch.equal(parameter, before[name])
        assert changed == (parameter_part(name) in parts), name


def test_refreezing_drops_gradients(model):
    apply_freeze(model, "all")
    model(torch.randn(2, 3, 8, 8)).sum().backward()
    apply_freeze(model, "head")
    assert model.conv_proj.weight.grad is None
    assert model.heads.head.weight.grad is not None


def test_frozen_modules_stay_in_evaluation_mode(model):
    apply_freeze(model, {"blocks": 6})
    set_modes(model)
    assert [block.training for block in model.encoder.layers] == [False] * 6 + [True] * 6
    assert model.encoder.layers[0].dropout.training is False
    assert model.encoder.dropout.training is False
    assert model.encoder.layers[11].dropout.training is True
    apply_freeze(model, "head")
    set_modes(model)
    images = torch.randn(2, 3, 8, 8)
    torch.nn.init.normal_(model.heads.head.weight)
    assert torch.equal(model(images), model(images))  # dropout 0.5 would tell
    apply_freeze(model, "all")
    set_modes(model)
    assert all(module.training for module in model.modules())


def test_groups_hold_every_trainable_parameter_once(model):
    for train in ("head", {"blocks": 3}, "all"):
        groups = parameter_groups(model, train, lr=1.0, weight_decay=0.1)
        ids = [id(p) for group in groups for p in group["params"]]
        parts = set(trainable_parts(train, 12))
        wanted = [id(p) for n, p in model.named_parameters() if parameter_part(n) in parts]
        assert sorted(ids) == sorted(wanted)
        assert len({group["name"] for group in groups}) == len(groups)


def test_no_decay_for_biases_norms_positions_and_class_token(model):
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for group in parameter_groups(model, "all", lr=1.0, weight_decay=0.1):
        for parameter in group["params"]:
            name = names[id(parameter)]
            plain = name.endswith("bias") or "ln" in name or "class_token" in name or "pos" in name
            assert group["weight_decay"] == (0.0 if plain else 0.1), name


def test_layer_decay_is_beits(model):
    groups = parameter_groups(model, "all", lr=2.0, weight_decay=0.1, layer_decay=0.5)
    scale = {group["name"]: group["lr_scale"] for group in groups}
    assert scale["head"] == scale["norm (no decay)"] == 1.0
    assert scale["block 12"] == scale["block 12 (no decay)"] == 0.5
    assert scale["block 1"] == 0.5**12
    assert scale["patch_embedding"] == scale["positions (no decay)"] == 0.5**13
    assert all(group["lr"] == 2.0 * group["lr_scale"] for group in groups)


def test_layer_decay_agrees_with_timm(model):
    import timm
    from timm.optim import param_groups_layer_decay

    shape = {"img_size": 8, "patch_size": 4, "embed_dim": 8, "num_heads": 2, "mlp_ratio": 1}
    theirs = timm.create_model("vit_tiny_patch16_224", depth=12, num_classes=3, **shape)
    expected = param_groups_layer_decay(
        theirs, 0.1, no_weight_decay_list=theirs.no_weight_decay(), layer_decay=0.75
    )

    def sizes(groups, scale, norm):
        apart = {id(p) for p in norm.parameters()}  # timm decays it once, BEiT and we do not
        return sorted(
            (round(group[scale], 9), group["weight_decay"], p.numel())
            for group in groups
            for p in group["params"]
            if id(p) not in apart
        )

    own = parameter_groups(model, "all", lr=1.0, weight_decay=0.1, layer_decay=0.75)
    assert sizes(own, "lr_scale", model.encoder.ln) == sizes(expected, "lr_scale", theirs.norm)


def test_report_counts_and_lines(model):
    report = freeze_report(model, {"blocks": 6})
    total = sum(p.numel() for p in model.parameters())
    assert report["trainable"] + report["frozen"] == total
    assert report["parts"]["patch_embedding"] == report["parts"]["block 6"] == "frozen"
    assert report["parts"]["block 7"] == report["parts"]["head"] == "trains"
    lines = freeze_lines(report)
    assert lines[0].startswith(f"train blocks: 6: {report['trainable']:,} parameters train")
    assert lines[1:] == [
        "  patch embedding: frozen",
        "  positions: frozen",
        "  blocks 1 to 6: frozen",
        "  blocks 7 to 12: trains",
        "  norm: trains",
        "  head: trains",
    ]


def test_each_table_is_told_once_with_all_phases_that_it_is_of():
    base = build(ARCHITECTURE, 10)
    head, whole = {"train": "head", "epochs": 4}, {"train": "all", "epochs": 1}
    checked = freeze_check(base, {"frozen": [head], "unfreeze_last": [head | {"epochs": 2}, whole]})
    lines = freeze_tables(checked)
    assert [line for line in lines if "phase" in line] == [
        "  in experiment and phase: frozen 1, unfreeze_last 1",
        "  in experiment and phase: unfreeze_last 2",
    ]
    assert [line.split(":")[0] for line in lines if "parameters" in line] == [
        "train head",
        "train all",
    ]


def test_check_names_the_phase_that_does_not_fit(caplog):
    base = build(ARCHITECTURE, 0)
    good = [{"train": "head", "epochs": 4}, {"train": "all", "epochs": 1}]
    with caplog.at_level(logging.INFO):
        frozen = freeze_check(base, {"unfreeze_last": good})
    assert [phase["train"] for phase in frozen["unfreeze_last"]] == ["head", "all"]
    assert [phase["epochs"] for phase in frozen["unfreeze_last"]] == [4, 1]
    assert frozen["unfreeze_last"][0]["trainable"] == 0
    assert "9 parameters a class" in caplog.text
    bad = [*good, {"train": {"blocks": 13}, "epochs": 1}]
    message = r"^experiments\.deep\.schedule\[2\]\.train: 'blocks: 13' but the base has 12 blocks$"
    with pytest.raises(ConfigError, match=message):
        freeze_check(base, {"deep": bad})
