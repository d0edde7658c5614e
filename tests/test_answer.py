"""The answer: chosen on validation images, told on test images, never slower than the plain model."""

import html
import io
import json

import numpy as np
import pandas as pd
import pytest

from frugalvit.config import job_params
from frugalvit.config.study import load_study
from frugalvit.errors import ConfigError
from frugalvit.evaluation.answer import Target, answer, difference
from frugalvit.evaluation.answer_words import show
from frugalvit.figures import answer_page
from tests.test_captions import STUDY

N = {"valid": 200, "test": 400}
COST = {"gflops": 1.0, "params_m": 2.0, "images_per_s": 100.0}


def predictions_of(accuracy, seed):
    """Answers of which exactly so many are right, other ones in each seed."""
    tables = []
    for split, n in N.items():
        right = np.zeros(n, dtype=bool)
        right[: round(accuracy[split] * n)] = True
        right = np.random.default_rng(seed).permutation(right)
        tables.append(
            pd.DataFrame(
                {"id": [f"{split}{k}" for k in range(n)], "split": split, "label": 0,
                 "predicted": np.where(right, 0, 1)}
            )
        )  # fmt: skip
    return pd.concat(tables)


def study_of(plain, points=(), seeds=(0, 1)):
    """Tables of a study: `name -> (valid, test, latency)`; points `(experiment, setting, value, …)`."""
    summary, rows, predictions, costs = [], [], {}, {}
    for name, (valid, test, latency, *own) in plain.items():
        for seed in own[0] if own else seeds:
            run, accuracy = f"{name}-s{seed}", {"valid": valid, "test": test}
            predictions[run] = predictions_of(accuracy, seed)
            costs[run] = cost_table(latency)
            for split, n in N.items():
                summary.append(
                    {"experiment": name, "run": run, "method": "fine_tune", "seed": seed, "split": split,
                     "n": n, "accuracy": accuracy[split], "latency_ms": latency, "device": "cpu",
                     "selected": None, **COST}
                )  # fmt: skip
    for name, setting, value, valid, test, latency, chosen in points:
        for seed in seeds:
            run, accuracy = f"{name}-s{seed}", {"valid": valid, "test": test}
            costs.setdefault(run, cost_table(10.0))
            if chosen:
                predictions[run] = predictions_of(accuracy, seed)
                for split, n in N.items():
                    summary.append(
                        {"experiment": name, "run": run, "method": "early_exit", "seed": seed,
                         "split": split, "n": n, "accuracy": accuracy[split],
                         "latency_ms": latency, "device": "cpu", "selected": None, **COST}
                    )  # fmt: skip
            for split, n in N.items():
                rows.append(
                    {"experiment": name, "run": run, "method": "early_exit", "seed": seed,
                     "setting": setting, "value": value, "criterion": "confidence", "threshold": 0.5,
                     "chosen": chosen, "note": None, "split": split, "n": n,
                     "accuracy": accuracy[split], "latency_ms": latency, **COST}
                )  # fmt: skip
    columns = list(rows[0]) if rows else ["experiment", "method", "setting", "chosen"]
    summary = pd.DataFrame(summary)
    experiments = {
        name: sorted(own["run"].unique()) for name, own in summary.groupby("experiment", sort=False)
    }
    return summary, pd.DataFrame(rows, columns=columns), predictions, costs, experiments


def cost_table(latency):
    return pd.DataFrame(
        {"model": "full", "batch_size": [1, 32], "latency_ms": [latency, latency],
         "images_per_s": [1000 / latency, 100.0]}
    )  # fmt: skip


def answer_of(target, plain, points=(), masked=None, **options):
    *tables, experiments = study_of(plain, points, **options)
    return answer("made_up", Target(*target), *tables, experiments, masked or {}, 32)


def test_the_fastest_that_loses_no_more_than_asked_in_validation():
    plain = {"large": (0.95, 0.90, 10.0), "middle": (0.94, 0.93, 6.0), "small": (0.90, 0.95, 2.0)}
    table, record = answer_of(("drop", 0.02), plain)
    assert (
        record["answer"]["name"] == "middle"
    )  # small is better on test images, which do not choose
    assert record["most_accurate"]["name"] == "large"
    assert record["answer"]["run"] == "middle-s0"
    assert table.set_index("name")["meets"].to_dict() == {
        "small": False,
        "middle": True,
        "large": True,
    }
    assert table.set_index("name")["status"]["middle"] == "answer"
    assert record["difference"]["points"] == pytest.approx(0.03)
    assert record["difference"]["paired"]
    first, second = record["text"]
    assert first.startswith("Take middle: 93.0 % of 400 test images right, 6 ms for one image")
    assert "60 % of the time of large" in first
    assert "at most 2 points less accurate" in second and "+3.0 points" in second
    assert json.loads(json.dumps(record)) == record


def test_of_equal_ones_the_cheaper_is_taken():
    _, record = answer_of(("drop", 0.0), {"slow": (0.9, 0.9, 5.0), "fast": (0.9, 0.8, 4.0)})
    assert record["answer"]["name"] == "fast" == record["most_accurate"]["name"]
    assert "the most accurate in validation as well" in record["text"][1]


def test_what_validation_cannot_tell_apart_is_answered_by_the_faster():
    plain = {"large": (0.90, 0.9, 9.0), "alike": (0.895, 0.9, 5.0), "worse": (0.70, 0.9, 1.0)}
    _, record = answer_of(("latency_ms", 9.5), plain)
    assert record["answer"]["name"] == "alike"
    assert "cannot tell it from large, which is slower" in record["why"]
    _, record = answer_of(("latency_ms", 2.0), plain)
    assert record["answer"]["name"] == "worse"
    assert record["why"] == "the most accurate of those as fast"


def test_none_as_fast_names_the_fastest():
    _, record = answer_of(("images_per_s", 5000), {"only": (0.9, 0.9, 9.0)})
    assert record["answer"] is None
    assert record["text"][0].startswith("No model to take: at least 5000 images a second was asked")
    assert "only, has 9 ms" in record["text"][0]


def test_no_point_that_is_slower_than_its_own_plain_model_nor_a_masked_one():
    points = [
        ("exits", "budget", 0.5, 0.94, 0.9, 12.0, True),  # its plain model takes 10 ms
        ("exits", "drop", 0.01, 0.93, 0.9, 8.0, False),
        ("exits", "masked", 0.01, 0.99, 0.9, 3.0, False),
    ]
    table, record = answer_of(
        ("drop", 0.05), {"plain": (0.9, 0.9, 6.0)}, points, {"early_exit": ["masked"]}
    )
    assert record["answer"]["name"] == "plain"
    assert record["most_accurate"]["name"] == "exits (drop 0.01)"
    assert record["difference"]["paired"] is False  # of that point no answers are kept
    notes = table.set_index("name")["note"]
    assert notes["exits (budget 0.5)"] == "slower than its own plain model"
    assert "exits (masked 0.01)" not in notes


def test_fewer_seeds_are_not_ranked():
    table, record = answer_of(
        ("drop", 0.5), {"all": (0.9, 0.9, 9.0), "lucky": (0.99, 0.99, 1.0, [0])}
    )
    assert record["answer"]["name"] == "all"
    assert table.set_index("name")["note"]["lucky"] == "lacks seeds that others have"


def test_the_frontier_is_of_what_is_ranked():
    plain = {"a": (0.9, 0.9, 9.0), "b": (0.9, 0.8, 5.0), "c": (0.9, 0.7, 7.0), "d": (0.9, 0.9, 8.0)}
    table, _ = answer_of(("drop", 0.0), plain)
    assert set(table.loc[table["frontier"], "name"]) == {"b", "d"}


def test_the_interval_is_of_the_same_images_where_answers_are_kept():
    rng = np.random.default_rng(0)
    base = rng.random(400) < 0.8
    other_base = base ^ (rng.random(400) < 0.02)
    right = pd.DataFrame({"a-s0": base, "b-s0": other_base}).astype(float)
    row = {"seeds": "0", "in_use": True, "accuracy": 0.8, "n": 400}
    one, other = pd.Series(row | {"experiment": "a"}), pd.Series(row | {"experiment": "b"})
    gap, low, high, paired = difference(one, other, "test", right)
    assert paired and low <= gap <= high
    assert gap == pytest.approx(right["a-s0"].mean() - right["b-s0"].mean())
    wide = difference(pd.Series(dict(one) | {"in_use": False}), other, "test", right)
    assert not wide[3]
    assert wide[2] - wide[1] > 2 * (high - low)  # of the same images much less is chance


def test_over_many_studies_the_interval_holds_as_often_as_it_says():
    rng, inside = np.random.default_rng(1), 0
    one = pd.Series({"experiment": "a", "seeds": "0", "in_use": True})
    other = pd.Series({"experiment": "b", "seeds": "0", "in_use": True})
    for _ in range(150):
        a = rng.random(300) < 0.9
        b = np.where(rng.random(300) < 0.1, rng.random(300) < 0.5, a)
        right = pd.DataFrame({"a-s0": a, "b-s0": b}).astype(float)
        truth = 0.9 - (0.9 * 0.9 + 0.1 * 0.5)
        _, low, high, _ = difference(one, other, "test", right)
        inside += low <= truth <= high
    assert 0.88 <= inside / 150 <= 1


def test_one_key_is_asked():
    with pytest.raises(ConfigError, match="answer: names drop, latency_ms; keep 1"):
        load_study({**STUDY, "answer": {"drop": 0.1, "latency_ms": 3}})
    with pytest.raises(ConfigError, match=r"answer.joules: unknown key"):
        load_study({**STUDY, "answer": {"joules": 3}})


def test_experiments_of_one_set_of_images_are_compared():
    compared = job_params.answering(load_study(STUDY))
    assert "partial" not in compared["runs"]  # it is tested on the swapped images
    assert {"frozen", "early", "halting", "merged"} <= compared["runs"].keys()
    assert compared["masked"]["avit"]


def test_the_page_opens_with_the_answer_and_holds_all_of_it():
    plain = {
        "large <b>": (0.95, 0.90, 10.0),
        "middle": (0.94, 0.93, 6.0),
        "few": (0.9, 0.9, 1.0, [0]),
    }
    table, record = answer_of(("latency_ms", 7.0), plain)
    table = pd.read_csv(io.StringIO(table.to_csv(index=False)))  # as figures read it
    page = answer_page.draw(
        table, study="made_up", device="cpu", target={"latency_ms": 7.0}, looks={}, busy="busy!"
    )
    assert page.index(html.escape(record["text"][0])) < page.index("<svg") < page.index("<table")
    assert "large <b>" not in page and "large &lt;b&gt;" in page
    assert "frugalvit predict results/made_up/runs/middle-s0 photos/" in page
    assert "Not ranked, lacks seeds that others have: few." in page
    assert "busy!" in page
    assert "http" not in page.replace("http://www.w3.org", "").replace(
        "http://purl.org", ""
    ).replace("http://creativecommons.org", "")  # nothing is fetched


def test_the_two_lines_are_printed(tmp_path, capsys):
    path = tmp_path / "answer.csv"
    pd.DataFrame({"said": ["Take this.\nAsked: that.", ""]}).to_csv(path, index=False)
    show(str(path))
    assert capsys.readouterr().out == "Take this.\nAsked: that.\n"


def test_the_command_on_the_page_names_the_operating_point():
    points = [("exits", "drop", 0.01, 0.99, 0.9, 3.0, True)]
    table, _ = answer_of(("drop", 0.0), {"plain": (0.9, 0.9, 10.0)}, points)
    table = pd.read_csv(io.StringIO(table.to_csv(index=False)))
    page = answer_page.draw(table, study="s", device="cpu", target={"drop": 0.0}, looks={})
    assert "predict results/s/runs/exits-s0 --point &#x27;drop 0.01&#x27; photos/" in page


def test_a_searchs_runs_are_no_candidates():
    """They are summarised as others are, and may be better in validation."""
    plain = {"searched": (0.90, 0.91, 5.0), "large": (0.92, 0.93, 9.0)}
    summary, points, predictions, costs, experiments = study_of(plain)
    search = summary[summary["experiment"] == "searched"].assign(accuracy=0.99)
    search["run"] = search["run"].str.replace("searched", "searched-g00")
    both = pd.concat([summary, search])
    how = (predictions, costs, experiments, {}, 32)
    table, record = answer("s", Target("drop", 0.01), both, points, *how)
    alone, _ = answer("s", Target("drop", 0.01), summary, points, *how)
    pd.testing.assert_frame_equal(table, alone)
    assert record["answer"]["name"] == "large"
    study = {**STUDY, "experiments": {**STUDY["experiments"]}}
    grid = {"parameters": {"lr": [0.001, 0.002]}}
    study["experiments"]["found"] = study["experiments"]["frozen"] | {"grid": grid}
    study = load_study(study)
    assert job_params.answering(study)["runs"]["found"] == [f"found-s{seed}" for seed in range(3)]
    assert "found-g00-s0" in study.runs


@pytest.mark.parametrize("target", [("drop", 0.01), ("latency_ms", 7.0), ("images_per_s", 50.0)])
def test_the_page_without_times_says_so(target):
    summary, points, predictions, costs, experiments = study_of({"a": (0.9, 0.9, 1.0)})
    unknown = {"latency_ms": np.nan, "images_per_s": np.nan}
    costs = {run: own.assign(**unknown) for run, own in costs.items()}
    how = (points, predictions, costs, experiments, {}, 32)
    table, record = answer("s", Target(*target), summary.assign(**unknown), *how)
    assert record["answer"] is None
    table = pd.read_csv(io.StringIO(table.to_csv(index=False)))
    page = answer_page.draw(table, study="s", device="", target=dict([target]), looks={})
    assert "No model to take: " in page
    assert "No time was measured, so that no model is ranked." in page
    assert "Not ranked, its time was not measured: a." in page
    assert "<svg" not in page and "★" not in page and "measured on" not in page
    assert "nan" not in page
