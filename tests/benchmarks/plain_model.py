"""The plain model against timm's of the same shape and weights, and against torchvision's own forward.

A ViT-S/16 at 224 px, on one thread where there is no GPU. Every speed-up is told against the plain
model: it should be no slower than what another import gives.
"""

from functools import partial

import timm
import torch
from torchvision.models import VisionTransformer

from frugalvit.devices.fabric import device_name
from frugalvit.models.architectures import ARCHITECTURE_KEYS
from frugalvit.models.backbone import build
from frugalvit.models.weights.conversion import convert
from frugalvit.provenance import environment
from tests.benchmarks.turns import ratio, take_turns

TIMM, SIDE = "vit_small_patch16_224", 224
BATCHES, SECONDS = (1, 8, 32), 60.0
OURS, TORCHVISIONS = "plain model", "torchvision's forward"


def models_of(device: torch.device) -> dict[str, torch.nn.Module]:
    """The three with the same weights, in evaluation mode; each gives the class token."""
    torch.manual_seed(0)
    theirs = timm.create_model(TIMM, pretrained=False, num_classes=0)
    state, architecture, _ = convert(theirs.state_dict(), image_size=SIDE)
    ours = build(architecture, 0)
    torchvisions = VisionTransformer(**{key: architecture[key] for key in ARCHITECTURE_KEYS})
    torchvisions.heads = torch.nn.Sequential()
    models = {OURS: ours, TORCHVISIONS: torchvisions, f"timm {timm.__version__}": theirs}
    for model in (ours, torchvisions):
        model.load_state_dict(state)
    return {name: model.eval().to(device) for name, model in models.items()}


@torch.inference_mode()
def main(device: torch.device | None = None) -> None:
    """Print the table."""
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    models = models_of(device)
    print(
        f"\nThe plain model, ViT-S/16 at {SIDE} px, taking turns: time over that of the plain model\n"
        f"{device_name(device)}, {environment()['processor']}, torch {torch.__version__}\n\n"
        "| batch | model | ms (median) | times the plain model's (middle half of turns) | turns "
        "| largest difference of an output |\n|---|---|---|---|---|---|"
    )
    for batch in BATCHES:
        generator = torch.Generator().manual_seed(1)
        images = torch.randn(batch, 3, SIDE, SIDE, generator=generator).to(device)
        calls = {name: partial(model, images) for name, model in models.items()}
        times = take_turns(calls, device, SECONDS)
        outputs = {name: model(images) for name, model in models.items()}
        for name, each in times.items():
            apart = (outputs[name] - outputs[OURS]).abs().max().item()
            print(f"| {batch} | {name} | {1e3 * float(sorted(each)[len(each) // 2]):.1f} "
                  f"| {ratio(each, times[OURS])} | {len(each)} | {apart:.1e} |", flush=True)  # fmt: skip
    torch.set_num_threads(threads)
