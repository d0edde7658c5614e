"""Answers images with an exported model: needs numpy and onnxruntime, and Pillow to read image files.

    python runner.py photo.jpg ...            a JSON line an image
    model = Model("folder of export.json")
    found = model.answer(pixels)              uint8 [images, side, side, 3], from model.decode(file)

A model with early exits lies in several graphs. An image whose score reaches the threshold leaves
after a graph, and the next one computes the others alone. Programs of torch (.pt2) need torch.
"""

import argparse
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

FORMATS = ("JPEG", "MPO", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF")
# EXIF's orientation -> Pillow's word for what makes the image upright.
TURNS = {
    2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270",
    7: "TRANSVERSE", 8: "ROTATE_90",
}  # fmt: skip
Graph = Callable[[list[np.ndarray]], list[np.ndarray]]


class Model:
    """An export.

    Args:
        folder: that holds export.json and the graphs it names.
        threads: of onnxruntime or torch; as many as they take where None.
    """

    def __init__(self, folder: str | Path, threads: int | None = None):
        self.folder = Path(folder)
        self.card = json.loads((self.folder / "export.json").read_text(encoding="utf-8"))
        self.classes: list[str] = self.card["classes"]
        self.threshold = self.card["threshold"]
        self.stages = self.card["stages"]
        self.graphs = [load(self.folder / stage["file"], threads) for stage in self.stages]

    def answer(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Answers to uint8 `[images, side, side, 3]`, in their order.

        Returns:
            `probabilities` `[images, classes]`; `exit` `[images]`, the block after which each left, of
            early exits; `boxes` `[images, 4]`, shares of the view's side; `depth`; `embedding`.
        """
        rows, inputs = np.arange(len(pixels)), [np.ascontiguousarray(pixels)]
        found: dict[str, np.ndarray] = {}
        for stage, graph in zip(self.stages, self.graphs):
            outputs = graph(inputs)
            answers = dict(zip(stage["answers"], outputs))
            score = answers.pop("score", None)
            stays = np.zeros(len(rows), bool) if score is None else score < self.threshold
            if stage["block"] is not None:
                answers["exit"] = np.full(len(rows), stage["block"])
            for name, values in answers.items():
                if name not in found:
                    found[name] = np.zeros((len(pixels), *values.shape[1:]), values.dtype)
                found[name][rows[~stays]] = values[~stays]
            if not stays.any():
                break
            rows = rows[stays]
            inputs = [part[stays] for part in outputs[len(stage["answers"]) :]]
        return found

    def decode(self, file: str | Path) -> tuple[np.ndarray, list[float]]:
        """The square of an image file that the model reads, and the part of the photo that it sees.

        Returns:
            uint8 `[side, side, 3]`; left, top and side of the view, px of the upright photo.

        Raises:
            ValueError: more pixels than export.json allows, or pixels of more than 8 bits.
            OSError: it cannot be read.
        """
        how = self.card["preprocessing"]
        pixels, (left, top, side) = decode(file, how)
        size, pixel = how["image_size"], side / how["crop"]
        start = (how["crop"] - size) // 2 * pixel
        return pixels, [left + start, top + start, size * pixel]


def load(file: Path, threads: int | None) -> Graph:
    """A graph as a function from its inputs to its outputs."""
    if file.suffix == ".pt2":
        import torch

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch about its own buffers
            program = torch.export.load(file).module()

        def compute(inputs: list[np.ndarray]) -> list[np.ndarray]:
            with torch.inference_mode():
                return [part.numpy() for part in program(*map(torch.tensor, inputs))]

        return compute
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if threads:
        options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    return lambda inputs: session.run(None, dict(zip(names, inputs)))


def decode(file: str | Path, how: dict[str, Any]) -> tuple[np.ndarray, tuple[int, int, float]]:
    """The square that export.json's `preprocessing` describes, and where it lies in the photo."""
    from PIL import Image

    Image.init()
    resize, crop, stretch = how["resize"], how["crop"], how["stretch"]
    with Image.open(file, formats=[name for name in FORMATS if name in Image.OPEN]) as image:
        width, height = image.size
        if width * height > how["max_pixels"]:
            raise ValueError(f"{width} x {height} pixels are more than {how['max_pixels']}")
        if is_deep(image):
            raise ValueError("more than 8 bits a pixel: convert it, or use frugalvit predict")
        image.draft(None, (2 * resize, 2 * resize))
        image.load()
        turn = orientation(image)
        picture = on_white(image)
    if turn in TURNS:
        picture = picture.transpose(Image.Transpose[TURNS[turn]])
    if turn in (5, 6, 7, 8):
        width, height = height, width
    left, top, side = middle(picture.width, picture.height, resize, crop)
    if side == crop:
        square = picture.crop((left, top, left + crop, top + crop))
    else:
        box = (left, top, left + side, top + side)
        square = picture.resize((crop, crop), Image.Resampling.BILINEAR, box=box)
    pixels = np.asarray(square)
    if stretch:
        shares = (np.arange(256) / 255 - stretch[0]) / (stretch[1] - stretch[0])
        pixels = (shares.clip(0, 1) * 255).round().astype(np.uint8)[pixels]
    return pixels, middle(width, height, resize, crop)


def is_deep(image: Any) -> bool:
    """Whether a value has more than 8 bits, of which Pillow may keep the upper ones alone."""
    if image.mode.startswith("I") or image.mode == "F":
        return True
    if image.format == "TIFF" and max(image.tag_v2.get(258, (8,))) > 8:  # BitsPerSample
        return True
    args = [tile.args if isinstance(tile.args, tuple) else (tile.args,) for tile in image.tile]
    return any(str(one[0]).startswith(("RGB;16", "RGBA;16", "RGBX;16")) for one in args if one)


def orientation(image: Any) -> int:
    """EXIF's or TIFF's; 1, upright, where it is missing or damaged."""
    try:
        return image.getexif().get(0x0112, 1)
    except Exception:
        return 1


def on_white(image: Any) -> Any:
    """RGB, with white behind what is transparent."""
    from PIL import Image

    if image.mode == "La":  # premultiplied: Pillow converts it to nothing else
        image = image.convert("LA")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return image.convert("RGB")


def middle(width: int, height: int, resize: int, crop: int) -> tuple[int, int, float]:
    """Left, top and side of the square that is `crop` px where the short side is `resize` px."""
    side = min(width, height) * crop / resize
    return int((width - side) / 2), int((height - side) / 2), side


def row(model: Model, file: str, found: dict[str, np.ndarray], part: list[float]) -> dict[str, Any]:
    """What is told of one photo."""
    label = int(found["probabilities"][0].argmax())
    told: dict[str, Any] = {"file": file, "class": model.classes[label]}
    told["probability"] = round(float(found["probabilities"][0, label]), 6)
    for name in ("exit", "depth"):
        if name in found:
            told[name] = round(found[name][0].item(), 4)
    if "boxes" in found:
        left, top, side = part
        x0, y0, x1, y1 = (float(edge) * side for edge in found["boxes"][0].clip(0, 1))
        box = (left + x0, top + y0, left + x1, top + y1)
        told |= {name: round(edge, 1) for name, edge in zip(("x0", "y0", "x1", "y1"), box)}
    return told


def main(words: Sequence[str] | None = None) -> int:
    """Print a JSON line an image; 1 where one cannot be read."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="+")
    parser.add_argument("--folder", default=Path(__file__).parent, help="where export.json is")
    parser.add_argument("--threads", type=int)
    asked = parser.parse_args(words)
    model, bad = Model(asked.folder, asked.threads), 0
    for file in asked.photos:
        try:
            pixels, part = model.decode(file)
        except (OSError, ValueError, SyntaxError) as error:  # as Pillow tells of damaged files
            print(f"left out {file}: {error}", file=sys.stderr)
            bad += 1
            continue
        told = row(model, file, model.answer(pixels[None]), part)
        print(json.dumps(told, ensure_ascii=False))
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
