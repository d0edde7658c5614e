"""The embedded digits, scattered on a canvas (`scattered_digits`): nothing to fetch."""

from pathlib import Path
from typing import Any

from frugalvit.data.items import SPLITS, Item, Listing
from frugalvit.data.sources.source import Dataset, Listed, Source
from frugalvit.errors import ConfigError


def fetch(dataset: Dataset, raw: Path, mirror: Path | None) -> dict[str, Any]:
    """Nothing: scikit-learn holds them."""
    return {"files": []}


def list_digits(dataset: Dataset, raw: Path) -> Listed:
    """Draw every split's images, of the wanted classes only."""
    wanted = None
    if dataset["classes"] is not None:
        names = [str(name) for name in dataset["classes"]]
        wanted = [digit for digit in range(10) if str(digit) in names]
    listing = Listing([], {str(digit): str(digit) for digit in range(10)})
    if wanted == []:
        return Listed(listing, [])
    # Here, because scikit-learn takes longer to import than most other sources take to list.
    from frugalvit.data.sources import scattered_digits

    for split in SPLITS:
        drawn = scattered_digits.draw(dataset["digits"], split, wanted)
        for row, image in enumerate(drawn.images):
            scan, view = drawn.source_digit[row], drawn.view[row]
            left, top, right, bottom = map(float, drawn.boxes[row])
            listing.items.append(
                Item(
                    file=f"{split}/scan_{scan:04d}_view_{view:03d}",
                    split=split,
                    class_key=str(drawn.labels[row]),
                    image=image,
                    box=(left, top, right, bottom),
                    group=f"scan_{scan:04d}",
                )
            )
    # Of few images some digits may have none; a class without images is none.
    populated = {item.class_key for item in listing.items}
    listing.class_names = {key: key for key in listing.class_names if key in populated}
    return Listed(listing, [])


def check(dataset: Dataset, key: str, mirror: str | None) -> None:
    """Check that digits fit the canvas and exist; the canvas is drawn at its final size."""
    digits = dataset["digits"]
    dataset["resize"] = dataset["crop"] = digits["canvas"]
    smallest, largest = digits["size"]
    if not smallest <= largest <= digits["canvas"]:
        raise ConfigError(
            f"{key}.digits.size: [{smallest}, {largest}] does not fit a canvas of "
            f"{digits['canvas']} px; write [smallest, largest] within it"
        )
    for index, name in enumerate(dataset["classes"] or []):
        if name not in map(str, range(10)):
            raise ConfigError(f"{key}.classes[{index}]: unknown class '{name}'; use '0' to '9'")


SOURCE = Source(fetch=fetch, list=list_digits, check=check)
