"""The most confident mistakes, with small pictures that figures can draw without the dataset."""

import pandas as pd

from frugalvit.data.store import Store
from frugalvit.data.thumbnails import encode


def confident_mistakes(predictions: pd.DataFrame, store: Store, limit: int) -> pd.DataFrame:
    """The wrong test predictions of highest probability, each with its picture.

    Args:
        predictions: `id, split, label, predicted, probability`.
        store: where the pictures are.
        limit: most rows.

    Returns:
        The same columns and `image` (base64 PNG), most confident first.
    """
    wrong = predictions[
        (predictions["split"] == "test") & (predictions["label"] != predictions["predicted"])
    ]
    wrong = wrong.sort_values(["probability", "id"], ascending=[False, True]).head(limit).copy()
    places = store.index.set_index("id")
    wrong["image"] = [
        encode(store.images(places.at[name, "split"])[places.at[name, "row"]])
        for name in wrong["id"]
    ]
    return wrong
