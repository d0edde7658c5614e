"""A study's images and how they are divided, known from their list alone, before any is decoded."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd

from frugalvit.data.items import SPLITS, Listing
from frugalvit.data.splits import assign
from frugalvit.errors import FrugalError


@dataclass(frozen=True)
class Division:
    """Images, and the section of the study that divides them.

    Attributes:
        index: `id, split` (the source's), `label, class_name, group`, a row an image.
        splits: the `splits` section, or a variant of it.
        key: of that section in the study.
    """

    index: pd.DataFrame
    splits: dict[str, Any]
    key: str

    @cached_property
    def assignments(self) -> pd.DataFrame:
        """Which image is of which split, as `splits.assign` gives it."""
        return assign(self.index, self.splits)

    def count(self, split: str) -> int:
        """Images of a split."""
        return int((self.assignments["split"] == split).sum())

    def groups(self, split: str) -> list[str]:
        """Origin of each image of a split; empty for an image on its own."""
        return self.index.loc[(self.assignments["split"] == split).to_numpy(), "group"].tolist()

    def first_that(
        self, changes: Iterable[dict[str, Any]], check: Callable[["Division"], None]
    ) -> dict[str, Any] | None:
        """The first changes to the section with which `check` raises no error of the user's."""
        for change in changes:
            try:
                check(replace(self, splits=self.splits | change))
            except FrugalError:
                continue
            return change
        return None


def index_of(listing: Listing) -> pd.DataFrame:
    """What a division reads of a listing whose items are sorted, as a store's index would say it.

    Images that decoding leaves out are still among them.
    """
    rows = []
    for split in SPLITS:
        items = [item for item in listing.items if item.split == split]
        rows += [
            (f"{split}-{row:06d}", split, item.label, item.class_name, item.group)
            for row, item in enumerate(items)
        ]
    return pd.DataFrame(rows, columns=["id", "split", "label", "class_name", "group"])
