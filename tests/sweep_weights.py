"""Read timm's ViTs, one block deep and with random weights, and compare with timm's own answers.

Each is read three ways: beside the `config.json` that timm publishes, under its architecture's name
alone, and under no name. A file that is accepted and answers otherwise than timm's model is a
failure. Under no name it is one only where the log does not say what was assumed of the model: two
models may have the same tensors, by name and shape, and compute different things.
Run as `python -m tests.sweep_weights`, with patterns of names if not all.
"""

import argparse
import re
import sys
import tempfile
import warnings
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import timm
import torch
from safetensors.torch import save_file
from timm.models._hub import save_config_for_hf
from timm.models._registry import _model_to_module

from frugalvit.errors import WeightsError
from frugalvit.models.backbone import build, class_token
from frugalvit.models.weights.load import load_file
from frugalvit.models.weights.shapes import KNOWN_HEADS

# Modules of timm whose models are ViTs throughout; of others those that are called so.
MODULES = {"vision_transformer", "deit", "beit", "eva", "naflexvit", "vision_transformer_hybrid"}
CALLED = re.compile(r"vit|deit|beit|eva")
WAYS = ("config.json", "name", "nothing")
LARGEST = 60_000_000  # parameters of a model that cannot be built one block deep
TOLERANCE = 1e-4  # of the features' largest


class Read(NamedTuple):
    """How a file fared: `right`, `refused`, `different` or, with that said, `assumed`; and why."""

    fate: str
    why: str


def main() -> int:
    """Returns the exit code: 1 where a file was accepted that answers otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("patterns", nargs="*", default=["*"], help="names, with * and ?")
    names = {name for pattern in parser.parse_args().patterns for name in timm.list_models(pattern)}
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    fates: dict[str, Counter] = {way: Counter() for way in WAYS}
    unmade = []
    reasons: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(filter(is_vit, names)):
        try:
            model = scattered(make(name))
        except Exception as error:  # what timm itself cannot make at this depth
            print(f"{name}: not made ({str(error)[:80]})", flush=True)
            unmade.append(name)
            continue
        for way in WAYS:
            read = sweep(name, model, way)
            fates[way][read.fate] += 1
            if read.fate != "right":
                kind = re.sub(r"its name, \S+,|[0-9]+|\(.*?\)|'.*?'", "…", read.why)
                reasons[f"{way}: {read.fate}: {kind}"].append(name)
            if read.fate in ("different", "assumed"):
                print(f"{name}, by {way}: accepted, {read.fate}: {read.why}", flush=True)
    print(f"{len(unmade)} could not be made so shallow")
    for way, counted in fates.items():
        print(f"{way}: {dict(counted)}")
    for reason, found in sorted(reasons.items(), key=lambda item: -len(item[1])):
        print(f"{len(found)} {reason}: {', '.join(found[:3])}")
    return int(any(counted["different"] for counted in fates.values()))


def is_vit(name: str) -> bool:
    """Whether a model of timm's is a ViT, by its module or its name."""
    return _model_to_module[name] in MODULES or bool(CALLED.search(name))


def make(name: str) -> torch.nn.Module:
    """A model with one block and random weights, or whole where it cannot have one block."""
    try:
        return timm.create_model(name, pretrained=False, depth=1)
    except Exception:
        with torch.device("meta"):
            size = sum(p.numel() for p in timm.create_model(name).parameters())
        if size > LARGEST:
            raise
        return timm.create_model(name, pretrained=False)


OTHER_ACTIVATIONS = {"QuickGELU", "SiLU", "ReLU", "SquaredReLU", "GELUTanh"}


@torch.no_grad()
def scattered(model: torch.nn.Module) -> torch.nn.Module:
    """The model with values that a wrong conversion could not hide behind."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim > 1 and parameter[0].numel():
            parameter.copy_(noise / max(1, parameter[0].numel()) ** 0.5)
        else:
            scale = any(word in name for word in ("norm", "gamma")) and not name.endswith("bias")
            parameter.copy_((0.7 if scale else 0.0) + 0.15 * noise)
    return model.eval()


def sweep(name: str, model: torch.nn.Module, way: str) -> Read:
    """Write a model's tensors, read them, and compare."""
    size = model.pretrained_cfg["input_size"][-1]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / (f"{name}.safetensors" if way == "name" else "model.safetensors")
        save_file({key: value.contiguous() for key, value in model.state_dict().items()}, path)
        if way == "config.json":
            save_config_for_hf(model, path.with_name("config.json"))
        try:
            state, architecture, info = load_file(path, image_size=size, num_heads=heads(name))
        except WeightsError as error:
            line = str(error).replace(str(folder), "").partition(": ")[2]
            return Read("refused" if "\n" not in line else "different", line)
        ours = build(architecture, 0).eval()
        ours.load_state_dict(state)
        read = compare(model, ours, size)
        # What no tensor tells may differ where that was said; a wrong conversion may not.
        said = all("assumed" in info["taken"][key] for key in ("activation", "positions"))
        excused = read.fate == "different" and said and untold(model)
        return read._replace(fate="assumed") if excused else read


def untold(model: torch.nn.Module) -> bool:
    """Whether a model computes what its tensors do not tell: rotary positions, another activation,
    another way to pool.
    """
    parts = [*model.modules()]
    activations = {type(part) for part in parts if type(part).__name__ in OTHER_ACTIVATIONS}
    rotary = getattr(model, "rope", None) is not None or getattr(model, "rope_mixed", False)
    pooled = getattr(model, "global_pool", "token") not in ("token", "")
    return bool(activations) or rotary or pooled


def heads(name: str) -> int | None:
    """What the library knows of the model's whole shape; one block deep it is another."""
    with torch.device("meta"):
        whole = timm.create_model(name)
    if not hasattr(getattr(whole, "blocks", [None])[0], "mlp"):
        return None
    mlp_dim = getattr(getattr(whole.blocks[0].mlp, "fc1", None), "out_features", 0)
    return KNOWN_HEADS.get((whole.embed_dim, len(whole.blocks), mlp_dim))


@torch.no_grad()
def compare(theirs: torch.nn.Module, ours: torch.nn.Module, size: int) -> Read:
    """Compare what the two heads would read of an image."""
    images = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(7))
    if getattr(theirs, "dist_token", None) is None:
        wanted = theirs.forward_head(theirs.forward_features(images), pre_logits=True)
    else:  # read without its distillation token, as the card says
        tokens = torch.cat([theirs.cls_token, theirs.patch_embed(images)], dim=1)
        positions = torch.cat([theirs.pos_embed[:, :1], theirs.pos_embed[:, 2:]], dim=1)
        wanted = theirs.norm(theirs.blocks(tokens + positions))[:, 0]
    off = float((class_token(ours, images) - wanted).abs().max() / wanted.abs().max())
    return Read("right" if off < TOLERANCE else "different", f"off by {off:.2g} of the largest")


if __name__ == "__main__":
    sys.exit(main())
