"""Which image is of which split, as `check_splits` wrote it."""

from pathlib import Path

import pandas as pd

from frugalvit.data.splits import PARTS, UNUSED
from frugalvit.data.store import Store, read_index
from frugalvit.errors import DataError


def read_assignments(path: str | Path, store: Store) -> pd.DataFrame:
    """The table of a study's splits, which must be of these images.

    Args:
        path: of `assignments.csv`.
        store: of the same dataset.

    Raises:
        DataError: the table was damaged or edited, names an unknown split, or holds other images or
            labels than the store.
    """
    table, index = read_index(path), store.index
    remedy = f"delete {path} and run again"
    unknown = table.loc[~table["split"].isin([*PARTS, UNUSED]), "split"]
    if len(unknown):
        raise DataError(
            f"{path}: '{unknown.iloc[0]}' is no split ({', '.join(PARTS)}, {UNUSED}); {remedy}"
        )
    if table["id"].tolist() != index["id"].tolist():
        raise DataError(
            f"{path}: its ids are not those of {store.folder / 'index.csv'}, in that order; {remedy}"
        )
    differing = table.loc[table["label"].to_numpy() != index["label"].to_numpy(), "id"]
    if len(differing):
        raise DataError(
            f"{path}: the label of {differing.iloc[0]} is not that of {store.folder / 'index.csv'}; "
            f"{remedy}"
        )
    return table
