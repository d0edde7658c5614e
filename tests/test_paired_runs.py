"""Runs compared image by image: counts, the exact test, its correction, and the page."""

import io

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from frugalvit.chance import sign_test
from frugalvit.evaluation.paired_runs import COLUMNS, comparisons, words
from frugalvit.figures import comparisons_page


def right_of(**runs):
    return pd.DataFrame(
        {run.replace("_s", "-s"): np.array(own, float) for run, own in runs.items()}
    )


def experiments_of(right):
    names = dict.fromkeys(run.rsplit("-s", 1)[0] for run in right.columns)
    return {name: [run for run in right.columns if run.startswith(f"{name}-s")] for name in names}


def compared(right, reference="a"):
    return comparisons(right, experiments_of(right), reference)


def test_each_image_counts_once_over_the_seeds_that_both_have():
    right = right_of(
        a_s0=[1, 1, 0, 0, 1], a_s1=[1, 0, 0, 0, 1], b_s0=[0, 1, 0, 1, 1], b_s1=[0, 0, 0, 1, 1],
        b_s2=[1, 1, 1, 1, 1],
    )  # fmt: skip
    row = compared(right).query("family == 'answer'").iloc[0]
    assert (row["one"], row["other"], row["seeds"], row["n"]) == ("b", "a", "0 1", 5)
    assert (row["better"], row["worse"]) == (1, 1)
    assert row["points"] == pytest.approx(0)
    pair = compared(right).query("family == 'pairs'").iloc[0]
    assert (pair["one"], pair["better"]) == ("a", 1)


def many(seed=0, images=600, experiments=12):
    """`a`, experiments that are alike but for chance, and one that is worse."""
    rng = np.random.default_rng(seed)
    runs = {"a": rng.random(images) < 0.9}
    for place in range(experiments - 1):
        runs[f"alike{place}"] = rng.random(images) < 0.9
    runs["worse"] = rng.random(images) < 0.7
    return pd.DataFrame({f"{name}-s0": own.astype(float) for name, own in runs.items()})


def test_p_is_that_of_the_exact_test_and_is_corrected_for_its_family():
    table = compared(many())
    assert list(table.columns) == COLUMNS
    assert len(table.query("family == 'answer'")) == 12
    assert len(table.query("family == 'pairs'")) == 13 * 12 / 2
    for row in table.head(12).itertuples():
        assert row.p == pytest.approx(sign_test(row.better, row.worse))
    for _, own in table.groupby("family"):
        # Benjamini and Yekutieli 2001, theorem 1.3: the least over larger p of m c(m) p / rank.
        p, m = np.sort(own["p"].to_numpy()), len(own)
        each = p * m * (1 / np.arange(1, m + 1)).sum() / np.arange(1, m + 1)
        expected = np.minimum(np.minimum.accumulate(each[::-1])[::-1], 1)
        assert np.sort(own["p_corrected"]) == pytest.approx(expected)


def test_over_many_studies_differences_that_are_chance_are_rarely_called_real():
    uncorrected = corrected = 0
    for seed in range(100):
        own = compared(many(seed, 300, 8)).query("family == 'answer' and one != 'worse'")
        uncorrected += (own["p"] < 0.05).any()
        corrected += own["real"].any()
    assert corrected <= 10 < uncorrected


def test_a_real_difference_is_found_among_many():
    table = compared(many()).set_index(["family", "one"])
    assert table.loc[("answer", "worse"), "real"]


def test_what_shares_no_seed_or_image_is_left_out():
    right = right_of(a_s0=[1, 0, np.nan], b_s1=[1, 1, 1], c_s0=[np.nan, np.nan, 1])
    assert compared(right).empty
    assert list(compared(right).columns) == COLUMNS
    alike = compared(right_of(a_s0=[1, 0], b_s0=[1, 0]))
    assert alike["p"].tolist() == [1.0, 1.0]
    assert not alike["real"].any()


def test_words_that_a_person_understands():
    p = binomtest(31, 43).pvalue
    assert words(31, 12, p) == "better on 31 images, worse on 12; p = 0.0054 after correction"
    assert words(1, 0, 1.0) == (
        "better on 1 image, worse on 0; p = 1 after correction: not told apart"
    )
    assert "p < 0.001" in words(300, 2, 1e-9)


def test_the_page_says_who_is_better_and_holds_all_pairs():
    right = many().rename(columns={"worse-s0": "<worse>-s0"})
    table = pd.read_csv(io.StringIO(compared(right).to_csv(index=False)))
    page = comparisons_page.draw(table, study="made_up", shown=list(experiments_of(right)))
    assert "<b>Worse</b>: &lt;worse&gt;." in page
    assert "<worse>" not in page
    assert "Better than a" not in page
    assert "at most 5 % are expected to be chance" in page
    assert page.count("<tr>") == 2 + 12 + 78
    assert "All 78 pairs" in page
    fewer = comparisons_page.draw(table, study="made_up", shown=["a", "alike0"])
    assert fewer.count("<tr>") == 2 + 1 + 1
    none = comparisons_page.draw(table.iloc[:0], study="made_up", shown=["a"])
    assert "Nothing to compare" in none
