"""Exports of labelled boxes that tests make."""

from pathlib import Path

from tests.imagefolders import settings, write_image

NAMES = "names: [A, no, 007]\n"
GOOD = "1 0.5 0.5 0.25 0.5"
LAYOUTS = {
    "split first": "{split}/images/{name}.png {split}/labels/{name}.txt",
    "images first": "images/{split}/{name}.png labels/{split}/{name}.txt",
    "side by side": "{split}/{name}.png {split}/{name}.txt",
    "deeper": "images/{split}/cam/{name}.png labels/{split}/cam/{name}.txt",
    "wrapped": "letters/v1/{split}/images/{name}.png letters/v1/{split}/labels/{name}.txt",
}


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def export(
    root: Path, labels: dict[str, str | bytes | None], layout="split first", about=NAMES
) -> Path:
    """An export with an image for each label, `{"train/a": GOOD}`; None writes no label file."""
    for seed, (place, text) in enumerate(labels.items()):
        split, name = place.split("/")
        image, label = LAYOUTS[layout].format(split=split, name=name).split()
        write_image(root / image, seed, height=20, width=20)
        if text is not None:
            write(root / label, text)
    write(root / ("letters/v1" if layout == "wrapped" else "") / "data.yaml", about)
    return root


def yolo(root: Path, **changes) -> dict:
    return settings(source="yolo", path=str(root), **changes)
