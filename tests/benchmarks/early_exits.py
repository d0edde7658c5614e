"""Early exits at batch 32 against the plain model: how much of what the FLOPs promise is gained.

A ViT-S/14 at 224 px with a linear exit after every block. Time does not depend on what weights say
but on where images leave, so weights are random and depths drawn: more images late where little is
saved, more early where much is. The criterion is computed in full, and then overruled.
"""

import torch
from torch import Tensor

from frugalvit.devices.fabric import device_name
from frugalvit.evaluation.timing import measure_points
from frugalvit.methods.early_exit.criteria import State, step_of
from frugalvit.methods.early_exit.exit_flops import exit_flops
from frugalvit.methods.early_exit.exiting import Exiting
from frugalvit.methods.early_exit.model import EarlyExits, exit_blocks
from frugalvit.models.architectures import named_architecture
from frugalvit.models.backbone import build
from frugalvit.models.flops import vit_flops
from frugalvit.provenance import environment

BATCH, CLASSES, SECONDS = 32, 102, 12.0
SAVED = (0.3, 0.45, 0.6)
EARLIEST = 2  # index of the first exit where any image leaves
HEAD = {"kind": "linear", "shallow": None, "shallow_blocks": 0, "hidden_dim": 256}


def leave_at(depths: Tensor):
    """A step like `confidence`, at whose exits a batch leaves as `depths` (exit indices) say."""
    confidence = step_of("confidence")

    def step(logits: Tensor, temperature: float, state: State | None):
        _, answer, _ = confidence(logits, temperature, None)
        to_go = depths if state is None else state["to_go"] - 1
        return (to_go <= 0).float(), answer, {"to_go": to_go}

    return step


def draw_depths(gflops: Tensor, budget: float) -> Tensor:
    """Exit indices `[BATCH]` of mean cost near `budget`, spread exponentially over the exits."""
    reachable = torch.arange(EARLIEST, len(gflops))
    low, high = -5.0, 5.0
    for _ in range(50):
        tilt = (low + high) / 2
        shares = (tilt * reachable).double().softmax(dim=0)
        if (shares * gflops[reachable]).sum() > budget:
            high = tilt
        else:
            low = tilt
    quantiles = (torch.arange(BATCH) + 0.5) / BATCH
    depths = reachable[torch.searchsorted(shares.cumsum(dim=0), quantiles.double())]
    return depths[torch.randperm(BATCH, generator=torch.Generator().manual_seed(0))]


def main(device: torch.device | None = None) -> None:
    """Print the table."""
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    architecture = named_architecture("vit_small_14")
    backbone = build(architecture, CLASSES)
    blocks = exit_blocks("all", architecture["num_layers"])
    model = EarlyExits(backbone, blocks, HEAD).eval().to(device)
    full = vit_flops(architecture, CLASSES)
    gflops = torch.tensor(exit_flops(architecture, CLASSES, blocks, HEAD), dtype=torch.float64)

    depths = {f"{1 - saved:.0%}": draw_depths(gflops, (1 - saved) * full) for saved in SAVED}
    models = {"plain": backbone} | {
        name: Exiting(model, leave_at(depth.to(device)), 0.5) for name, depth in depths.items()
    }
    images = torch.randn(BATCH, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    threads = torch.get_num_threads()
    rows = measure_points(models, images, [BATCH], threads, SECONDS, device)
    speed = {row["model"]: row["images_per_s"] for row in rows}

    print(
        f"\nEarly exits, ViT-S/14 at 224 px, batch {BATCH}, interleaved with the plain model\n"
        f"{device_name(device)}, {environment()['processor']}, torch {torch.__version__}\n\n"
        "| GFLOPs an image | share | exits (images) | images/s | speed-up promised | measured "
        "| share of promise |\n|---|---|---|---|---|---|---|"
    )
    print(f"| {full:.2f} | 100 % | plain | {speed['plain']:.1f} | 1.00 | 1.00 | |")
    for name, depth in depths.items():
        spent = gflops[depth].mean().item()
        promised, measured = full / spent, speed[name] / speed["plain"]
        histogram = " ".join(map(str, depth.bincount(minlength=len(blocks)).tolist()))
        print(f"| {spent:.2f} | {spent / full:.0%} | {histogram} | {speed[name]:.1f} "
              f"| {promised:.2f} | {measured:.2f} | {measured / promised:.0%} |")  # fmt: skip
