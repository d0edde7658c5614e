"""What share of a photo the model sees: its short side is resized, the centre is cut out."""

from typing import NamedTuple

LEAST = 0.6  # of a square photo's area; below it, much of what tells classes apart may be cut off
TYPICAL = 4 / 3  # long over short side


class View(NamedTuple):
    """The evaluation view of a dataset, px."""

    image_size: int  # of the square that the model sees
    resize: int  # short side that a photo is resized to
    usual: int  # resize where the study does not set it
    key: str  # of the dataset in the study
    size_key: str = "base.image_size"  # of `image_size`


def share_seen(view: View, ratio: float = 1.0) -> float:
    """Area share of a photo whose long side is `ratio` times its short one."""
    return min(view.image_size / view.resize, 1.0) ** 2 / ratio


def told(view: View) -> str:
    """What the model sees, in words."""
    square, typical = share_seen(view), share_seen(view, TYPICAL)
    middle = "all" if square == 1 else f"the middle {100 * square:.0f} %"
    return f"the model sees {middle} of a square photo, {100 * typical:.0f} % of one of 4:3"


def too_little(view: View) -> str:
    """One line with the key and the remedy where the model sees little; empty where it does not."""
    if share_seen(view) >= LEAST:
        return ""
    return (
        f"{view.key}.resize: {view.resize} px for {view.size_key} {view.image_size}: {told(view)}; "
        f"leave it out (then {view.usual} px) or raise {view.size_key}"
    )


def scaled_side(image_size: int, share: float, resize: int, crop: int) -> int:
    """Side (px) to which a store's squares are resized so that `image_size` px show a share of a photo.

    It is `crop` itself where the store was made for that size. Both have as many pixels around the view
    on either side: an odd number would move it off the centre.

    Args:
        image_size: side of the view, px.
        share: of the photo's short side that the view shows.
        resize: short side of the photo, px, of which the store keeps a square.
        crop: side of that square, px.
    """
    wanted = image_size / share  # short side of the photo at the view's scale
    if abs(wanted - resize) < 1:
        return crop
    return image_size + 2 * round((crop * wanted / resize - image_size) / 2)
