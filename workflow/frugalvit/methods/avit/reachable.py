"""What can be asked of halting, and whether a run did it; no torch, so that it is asked early."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from frugalvit.errors import ConfigError
from frugalvit.models.flops import num_tokens, vit_flops

if TYPE_CHECKING:
    import pandas as pd

    from frugalvit.data.division import Division

MISS = 0.05  # over the target, from which on it counts as missed


def check_halting(
    halting: dict[str, Any], architecture: Mapping[str, Any], num_classes: int
) -> None:
    """Refuse what no training could reach on this backbone.

    Args:
        halting: the run's settings: `target_gflops`, `expected_depth`.
        architecture: the backbone's.
        num_classes: of the head; 0 where they are not known yet, which counts no head.

    Raises:
        ConfigError: a target that the model meets without halting, or cannot meet at all, or an
            expected depth beyond the blocks. The message lacks the experiment.
    """
    target, depth = halting["target_gflops"], halting["expected_depth"]
    layers = architecture["num_layers"]
    if depth and depth > layers:
        raise ConfigError(f"halting.expected_depth: {depth:g}, but the base has {layers} blocks")
    if target is None:
        return
    full = vit_flops(architecture, num_classes)
    least = vit_flops(architecture, num_classes, [num_tokens(architecture)])
    if not least < target < full:
        raise ConfigError(
            f"halting.target_gflops: {target:g}, but an image costs {least:.4g} GFLOPs where every "
            f"token halts at once and {full:.4g} where none does; write a number between them"
        )


def check_indices(indices: Sequence[int] | None, images: int) -> None:
    """Refuse positions that a test split of so many images lacks.

    Raises:
        ConfigError: names the key.
    """
    for place, index in enumerate(indices or ()):
        if index >= images:
            raise ConfigError(
                f"evaluation.depth_images[{place}]: {index}, but there are {images} test images; "
                f"use 0 to {images - 1}"
            )


def check_images(at: str, how: dict[str, Any], options: dict[str, Any], images: "Division") -> None:
    """Refuse test images that are asked for and not there; see `Method.check_images`."""
    check_indices(options["depth_images"], images.count("test"))


def missed(how: dict[str, Any], points: "pd.DataFrame") -> list[str]:
    """A cost over `target_gflops`, by which alpha_ponder was tuned; see `Method.missed`."""
    from frugalvit.operating_point import is_chosen  # pandas, which the configuration does without

    target = how["target_gflops"]
    tuned = points[is_chosen(points) & (points["split"] == "valid")]
    if not target or tuned.empty:
        return []
    cost = tuned["gflops"].iloc[0]
    if cost <= target * (1 + MISS):
        return []
    return [
        f"missed halting.target_gflops: {cost:.4g} GFLOPs an image on validation images, where "
        f"{target:g} were asked for ({cost / target - 1:+.0%})"
    ]
