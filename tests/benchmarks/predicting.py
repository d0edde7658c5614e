"""`frugalvit predict` against the bare model: what of the computing process's time is the model's.

A ViT-S/16 at 224 px on one thread, JPEG photos of 500 x 375 px which a second process decodes. Time is
the computing process's own on the processor, so that a busy machine tells it too: where cores are free
to decode, that share is predict's throughput over the bare model's.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from frugalvit.devices.fabric import Fabric, make_fabric
from frugalvit.files import write_json
from frugalvit.jobs.progress import Progress
from frugalvit.methods.predictor import Predictor
from frugalvit.models.backbone import architecture_of, build
from frugalvit.models.weights.tensors import save
from frugalvit.provenance import environment

PHOTOS, KINDS, BATCH, CLASSES = 256, 8, 32, 102
SHAPE = {
    "image_size": 224, "patch_size": 16, "num_layers": 12, "num_heads": 6, "hidden_dim": 384,
    "mlp_dim": 1536,
}  # fmt: skip


def make_run(folder: Path) -> Path:
    """The folder of a run with random weights."""
    torch.manual_seed(0)
    model = build(SHAPE, CLASSES)
    save(folder / "weights.safetensors", model.state_dict())
    card = {
        "run": "plain-s0", "method": "fine_tune", "seed": 0, "settings": {}, "precision": "32-true",
        "architecture": architecture_of(model), "classes": [f"class {k}" for k in range(CLASSES)],
        "preprocessing": {"image_size": 224, "mean": [0.5] * 3, "std": [0.5] * 3},
        "square": {"resize": 256, "crop": 224, "max_pixels": 10**8, "stretch": None},
    }  # fmt: skip
    write_json(folder / "card.json", card)
    return folder


def make_photos(folder: Path) -> list[Path]:
    """Smooth pictures with some noise, which compress as photos do."""
    draw = np.random.default_rng(0)
    files = []
    for kind in range(KINDS):
        coarse = Image.fromarray(draw.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize((500, 375), Image.Resampling.BICUBIC), np.int16)
        pixels = (pixels + draw.normal(0, 6, pixels.shape)).clip(0, 255).astype(np.uint8)
        file = folder / f"{kind}.jpg"
        Image.fromarray(pixels).save(file, quality=90)
        files.append(file)
    return [files[place % KINDS] for place in range(PHOTOS)]


@torch.inference_mode()
def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        predictor = Predictor(make_run(Path(name)))
        files = make_photos(Path(name))
        fabric = make_fabric(0, 1, "32-true")
        images = torch.zeros(BATCH, 3, 224, 224)
        predictor.answer(fabric, images)
        rows = {
            "bare model": _bare(predictor, images),
            "predict": _predict(predictor, fabric, files),
        }
    print(
        f"\n`frugalvit predict` on {PHOTOS} photos, batch {BATCH}, ViT-S/16, 1 thread, 1 worker\n"
        f"{environment()['processor']}, torch {torch.__version__}\n\n"
        "| way | ms of the computing process an image | ms by the clock | the model's share |\n"
        "|---|---|---|---|"
    )
    for way, (own, clock) in rows.items():
        share = rows["bare model"][0] / own
        print(f"| {way} | {1e3 * own:.1f} | {1e3 * clock:.1f} | {share:.1%} |")


def _bare(predictor: Predictor, images: torch.Tensor) -> tuple[float, float]:
    """Seconds an image, of the process and by the clock."""
    own, clock, calls = time.process_time(), time.perf_counter(), PHOTOS // BATCH - 1
    for _ in range(calls):
        predictor.module(images)
    count = calls * BATCH
    return (time.process_time() - own) / count, (time.perf_counter() - clock) / count


def _predict(predictor: Predictor, fabric: Fabric, files: list[Path]) -> tuple[float, float]:
    """The same from the second batch on: the first is answered twice, to load kernels."""
    count, own, clock = 0, 0.0, 0.0
    with Progress("predict", len(files), "images") as shown:
        for place, found in enumerate(predictor.predict(fabric, files, BATCH, workers=1)):
            shown.advance(len(found.rows))
            if place:
                count += len(found.rows)
            else:
                own, clock = time.process_time(), time.perf_counter()
    return (time.process_time() - own) / count, (time.perf_counter() - clock) / count
