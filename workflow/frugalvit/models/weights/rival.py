"""timm's own model on the same weights: an optional check of what was read from them.

timm is imported where the check is asked for: other jobs need not wait for it.
"""

from pathlib import Path
from typing import Any

import torch

from frugalvit.errors import ConfigError, WeightsError
from frugalvit.models.backbone import build, class_token
from frugalvit.models.weights.naming import is_of_a_head
from frugalvit.models.weights.opening import State, shown

TOLERANCE = 1e-3  # of the largest number that the head reads


@torch.no_grad()
def compare_with_timm(
    path: Path, tensors: State, state: State, architecture: dict[str, Any], told: str | None
) -> dict[str, Any]:
    """Compare what the head reads of random images, in the base and in timm's model.

    Args:
        path: the weights file.
        tensors: as it holds them, in timm's naming.
        state: as the base has them.
        architecture: of the base.
        told: timm's name of the architecture; where None, the file's or repository's name is it.

    Returns:
        `architecture`, `images` and `largest_difference`, relative to the largest number.

    Raises:
        ConfigError: timm is not installed, or knows no such model.
        WeightsError: the two answer differently, or the weights are not those of timm's model.
    """
    timm = _timm()
    name = told or _named(path, timm.list_models())
    if name not in timm.list_models():
        raise ConfigError(
            f"base.check: timm has no architecture {shown(name)}: put its config.json beside "
            f"{path}, call the file by the architecture, or leave the check out"
        )
    size = architecture["image_size"]
    with torch.random.fork_rng(devices=[]):
        theirs = timm.create_model(name, pretrained=False, img_size=size, num_classes=0).eval()
        ours = build(architecture, 0).eval()
    _load(theirs, timm, tensors, f"{path}: base.check: timm's {name}")
    ours.load_state_dict(state)
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    wanted = theirs(images)
    difference = float((class_token(ours, images) - wanted).abs().max() / wanted.abs().max())
    if not difference < TOLERANCE:
        raise WeightsError(
            f"{path}: base.check: timm's own {name} answers otherwise, by {difference:.1e} of its "
            "largest number: it computes what no tensor tells; take another model"
        )
    return {"architecture": name, "images": len(images), "largest_difference": difference}


def _timm() -> Any:
    try:
        import timm
        import timm.models.vision_transformer
    except ImportError:
        raise ConfigError(
            "base.check: timm is not installed: install it (pip install timm), or leave it out"
        ) from None
    return timm


def _named(path: Path, names: list[str]) -> str:
    """The architecture after which a file, or the repository in its name, is called."""
    parts = [part.partition("@")[0].partition(".")[0] for part in path.stem.split("--")]
    return next((part for part in reversed(parts) if part in names), parts[0])


def _load(model: torch.nn.Module, timm: Any, tensors: State, whose: str) -> None:
    """Give timm's model the tensors, as timm gives itself those of a checkpoint."""
    if getattr(model, "dist_token", None) is not None:
        raise ConfigError(
            f"{whose} has a distillation token, without which the base runs: leave the check out"
        )
    try:
        convert = timm.models.vision_transformer.checkpoint_filter_fn
        given = convert(tensors, model, adapt_layer_scale=True)
        keys = model.load_state_dict(given, strict=False)
    except Exception as error:  # whatever timm's own reading raises
        raise WeightsError(f"{whose} cannot take these weights ({shown(error, 120)})") from None
    odd = [name for name in keys.unexpected_keys if not is_of_a_head(name)]
    if keys.missing_keys or odd:
        some = ", ".join([*keys.missing_keys, *odd][:3])
        raise WeightsError(f"{whose} has other tensors ({some}): name its true architecture")
