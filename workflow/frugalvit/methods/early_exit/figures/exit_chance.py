"""Early exits by chance: the control that a criterion has to beat."""

import pandas as pd

from frugalvit.figures import point_words

EXIT_COLUMNS = ("exit", "split", "accuracy")


def by_chance(
    points: pd.DataFrame, exits: pd.DataFrame, criterion: str, split: str
) -> pd.DataFrame:
    """A criterion's curve as it would be expected, had the images been drawn at random.

    As many images leave at each exit, so they cost as much on average, but which ones is chance: the
    accuracy is then the exits' own over all images, weighed by how many leave there.

    Args:
        points: rows of `operating_points.csv` of one split, and `run`.
        exits: rows of `exits.csv`, and `run`.
        criterion: whose points they are.
        split: of the accuracies.

    Returns:
        As `point_words.curve` gives it.
    """
    of_split = exits[exits["split"] == split]
    own = of_split.pivot(index="run", columns="exit", values="accuracy").sort_index(axis=1)
    rows = points[points["setting"] == criterion]
    expected = []
    for run, histogram in zip(rows["run"], rows["exit_histogram"]):
        counts = [int(count) for count in str(histogram).split()]
        expected.append(float(own.loc[run].to_numpy() @ counts) / sum(counts))
    return point_words.curve(rows.assign(accuracy=expected), criterion)
