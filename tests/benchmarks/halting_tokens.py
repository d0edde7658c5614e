"""Halting tokens, masked and packed, against the plain model: how much FLOPs promise and time keeps.

A ViT-S/14 at 224 px. Time does not depend on what weights say but on how long each token lives, so
weights are random and depths drawn, ragged within images and between them. Scores are scripted.
"""

import torch
from torch import Tensor

from frugalvit.devices.fabric import device_name
from frugalvit.evaluation.timing import measure_points
from frugalvit.methods.avit.model import AViT, tokens_per_block
from frugalvit.methods.avit.packing import Packed
from frugalvit.models.architectures import named_architecture
from frugalvit.models.backbone import build
from frugalvit.models.flops import num_tokens, vit_flops
from frugalvit.provenance import environment

CLASSES, SECONDS = 102, 15.0
BATCHES = {"cpu": (1, 32)}  # a CPU takes minutes for 128
BATCHES_ELSEWHERE = (1, 32, 128)
LEFT = (1.0, 0.75, 0.6, 0.45)  # shares of the plain model's operations
IMAGE_STD, TOKEN_STD = 1.5, 2.5  # blocks by which images, and tokens of one image, differ
CLASS_QUANTILE = 0.95  # the class token halts when so many of its image's tokens have


class Scripted(AViT):
    """Its tokens halt after the blocks that `depths` `[batch, tokens]` says.

    No depth may be above its class token's: an answered image asks no more scores.
    """

    def __init__(self, model: torch.nn.Module, depths: Tensor):
        super().__init__(model, 1.0, 0.0)
        self.depths = depths

    def scores(self, tokens: Tensor, block: int) -> Tensor:
        """0 before a token's depth, 1 from there on; of live tokens alone, or of all."""
        depths = self.depths if tokens.ndim == 3 else self.depths[self.depths >= block]
        return (depths <= block).float()


def draw_depths(architecture: dict, batch: int, share: float) -> tuple[Tensor, float]:
    """Depths `[batch, tokens]` that leave about `share` of the operations, and their exact share."""
    generator = torch.Generator().manual_seed(batch)
    layers, tokens = architecture["num_layers"], num_tokens(architecture)
    apart = IMAGE_STD * torch.randn(batch, 1, generator=generator)
    apart = apart - apart.mean() + TOKEN_STD * torch.randn(batch, tokens, generator=generator)
    low, high = -2.0 * layers, 3.0 * layers
    for _ in range(30):
        depths = ((low + high) / 2 + apart).round().clamp(1, layers)
        depths[:, 0] = depths.quantile(CLASS_QUANTILE, dim=1).ceil()
        depths = depths.minimum(depths[:, :1]).long()
        per_block = tokens_per_block(depths, layers)
        left = vit_flops(architecture, CLASSES, per_block.unbind(1)).mean().item()
        left /= vit_flops(architecture, CLASSES)
        low, high = (low, (low + high) / 2) if left > share else ((low + high) / 2, high)
    return depths, left


def measure(
    backbone: torch.nn.Module, architecture: dict, batch: int, device: torch.device
) -> list[str]:
    """The table's rows at one batch size."""
    drawn = {f"packed, {share:.0%}": draw_depths(architecture, batch, share) for share in LEFT}
    scripted = {name: Scripted(backbone, depths.to(device)) for name, (depths, _) in drawn.items()}
    masked = f"packed, {LEFT[-1]:.0%}"
    models = {"plain": backbone, "masked": scripted[masked]}
    models |= {name: Packed(model) for name, model in scripted.items()}
    images = torch.randn(batch, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        rows = measure_points(models, images, [batch], torch.get_num_threads(), SECONDS, device)
    speed = {row["model"]: row["images_per_s"] for row in rows}
    drawn["masked"] = drawn[masked]
    lines = [f"| {batch} | plain | 100 % | | {speed['plain']:.1f} | | 1.00 | |"]
    for name in list(models)[1:]:
        depths, left = drawn[name]
        lengths = tokens_per_block(depths, architecture["num_layers"])[:, 6]
        gained = speed[name] / speed["plain"]
        lines.append(
            f"| {batch} | {name.split(',')[0]} | {left:.1%} | {lengths.min()} to {lengths.max()} "
            f"| {speed[name]:.1f} | {1 / left:.2f} | {gained:.2f} | {gained * left:.0%} |"
        )
    return lines


def main(device: torch.device | None = None) -> None:
    """Print the table."""
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    architecture = named_architecture("vit_small_14")
    backbone = build(architecture, CLASSES).eval().to(device)
    precision = "bf16-mixed" if device.type == "cuda" else "float32"
    print(
        f"\nHalting tokens, ViT-S/14 at 224 px, interleaved with the plain model\n"
        f"{device_name(device)}, {environment()['processor']}, torch {torch.__version__}, "
        f"{precision}\n\n"
        "| batch | model | share of GFLOPs | tokens an image in block 7 | images/s "
        "| speed-up promised | measured | share of promise |\n|---|---|---|---|---|---|---|---|"
    )
    for batch in BATCHES.get(device.type, BATCHES_ELSEWHERE):
        print("\n".join(measure(backbone, architecture, batch, device)), flush=True)
    print("\nAt 100 % nothing halts: what packing gains or costs by itself.")
