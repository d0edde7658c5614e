"""Saying "unsure": the promise over many draws, what is left to answer, and what is refused."""

import io
import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image
from scipy.stats import binom, binomtest

from frugalvit.cli.main import frugalvit
from frugalvit.config.study import load_study
from frugalvit.data.store import Store
from frugalvit.errors import ConfigError, DataError
from frugalvit.evaluation import abstaining
from frugalvit.evaluation.abstaining import abstentions, evidence, fit, sequence, with_abstention
from frugalvit.evaluation.promises import fewest, too_few
from frugalvit.files import read_json, write_json
from frugalvit.methods.early_exit.enough import check_targets, kept_apart
from frugalvit.methods.image_checks import check_images
from frugalvit.operating_point import NEVER
from tests.conftest import copy_dated
from tests.test_captions import STUDY
from tests.workflows import TINY, edit, results_of, run

RISK, DELTA, DRAWS = 0.1, 0.1, 200
SLACK = 2 * (DELTA * (1 - DELTA) / DRAWS) ** 0.5


class Pool:
    """A finite population, of which draws are made and the truth is known."""

    def __init__(self, images=20000, seed=0):
        rng = np.random.default_rng(seed)
        self.confidence = rng.beta(5, 1, images).round(3)
        self.right = rng.random(images) < self.confidence

    def draw(self, n, rng):
        chosen = rng.integers(len(self.right), size=n)
        return self.confidence[chosen], self.right[chosen]

    def truth(self, threshold):
        """Share of wrong answers, and of answers, over the whole pool."""
        sure = self.confidence >= threshold
        return (1 - self.right[sure].mean() if sure.any() else 0.0), sure.mean()

    def over_draws(self, n=400, groups=None):
        """The truth of each draw's threshold: `[draws, 2]`."""
        found = []
        for seed in range(DRAWS):
            rng = np.random.default_rng(seed)
            calibration = self.draw(n, rng)
            if groups:  # of each image so many copies
                calibration = tuple(np.repeat(part, groups) for part in calibration)
            names = [f"scan {k // groups}" for k in range(n * groups)] if groups else [""] * n
            kept = fit(self.draw(300, rng), calibration, names, RISK, DELTA)
            found.append(self.truth(kept.threshold))
        return np.array(found)


@pytest.mark.parametrize("groups", [None, 4])
def test_the_promise_holds_over_200_draws_and_answers_are_left(groups):
    pool = Pool()
    wrong, coverage = pool.over_draws(groups=groups).T
    assert pool.truth(0.0)[0] > RISK, "answering all breaks the promise"
    assert (wrong > RISK).mean() <= DELTA + SLACK
    possible = max(pool.truth(t)[1] for t in np.unique(pool.confidence) if pool.truth(t)[0] <= RISK)
    assert 0.4 * possible < coverage.mean() < possible + 0.05


def test_taking_the_share_of_the_calibration_images_for_the_truth_breaks_the_promise(monkeypatch):
    def looks_safe(sure, right, units, risk, seed=0):
        return float((sure & ~right).sum() > risk * sure.sum())

    monkeypatch.setattr(abstaining, "evidence", looks_safe)
    wrong, _ = Pool().over_draws().T
    assert (wrong > RISK).mean() > DELTA + SLACK


def test_copies_of_one_image_taken_for_many_images_break_the_promise(monkeypatch):
    monkeypatch.setattr(abstaining, "unit_numbers", lambda groups: list(range(len(groups))))
    wrong, _ = Pool().over_draws(groups=4).T
    assert (wrong > RISK).mean() > DELTA + SLACK


def test_evidence_is_the_exact_binomial_tests():
    rng = np.random.default_rng(0)
    right, sure = rng.random(200) < 0.95, rng.random(200) < 0.7
    wrong, answered = int((sure & ~right).sum()), int(sure.sum())
    known = binomtest(wrong, answered, 0.1, alternative="less").pvalue
    assert evidence(sure, right, np.arange(200), 0.1) == pytest.approx(known)
    assert evidence(np.zeros(200, dtype=bool), right, np.arange(200), 0.1) == 1.0


def test_evidence_of_groups_is_of_their_means():
    right, sure = np.array([True, False] * 60), np.ones(120, dtype=bool)
    halves = np.arange(120) // 2  # of each group one image is wrong: half of its answers
    assert evidence(sure, right, halves, 0.4) == 1.0
    assert evidence(sure, right, halves, 0.7) < 0.01
    sure[1::2] = False  # the wrong ones are not answered
    assert evidence(sure, right, halves, 0.1) < 0.1


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("risk", [0.02, 0.1, 0.5])
def test_as_few_images_as_it_takes(risk, grouped):
    needed = fewest(risk, DELTA, grouped)
    copies = 2 if grouped else 1
    for n, enough in ((needed, True), (needed - 1, False)):
        names = [f"scan {k // copies}" if grouped else "" for k in range(n * copies)]
        told = (np.linspace(0.5, 1, n * copies), np.ones(n * copies, dtype=bool))
        found = fit(told, told, names, risk, DELTA)
        assert (found.threshold == 0.0) == enough
        assert bool(too_few(names, {"risk": risk, "delta": DELTA})) != enough


def test_the_sequence_begins_where_validation_shows_most_and_ends_with_all():
    confidence = np.linspace(0.01, 1, 200)
    right = confidence > 0.3
    found = sequence(confidence, right, 0.05)
    assert found == sorted(found, reverse=True)
    assert found[-1] == 0.0
    assert found[0] == pytest.approx(0.3, abs=0.02)
    assert not set(found) & set(confidence)  # between confidences, but for the last
    assert sequence(np.ones(50), np.zeros(50, dtype=bool), 0.05) == [0.0]


def table_of(confidence, right, split):
    ids = [f"{split}{k}" for k in range(len(right))]
    predicted = np.where(right, 0, 1)
    columns = {"id": ids, "split": split, "label": 0, "predicted": predicted}
    return pd.DataFrame(columns | {"probability": confidence})


def run_of(right_above=0.4, n=300):
    rng = np.random.default_rng(0)
    tables = []
    for split in ("calibration", "valid", "test"):
        confidence = rng.random(n).round(6)
        tables.append(table_of(confidence, confidence > right_above, split))
    return pd.concat(tables)


NO_POINTS = pd.DataFrame(columns=["run", "setting", "value", "chosen"])


def test_a_row_a_run_and_what_its_folder_holds():
    predictions = {"plain-s0": run_of(), "hopeless-s0": run_of(right_above=2.0)}
    group_of = pd.Series("", index=predictions["plain-s0"]["id"])
    runs = [
        {"run": run, "experiment": run[:-3], "seed": 0, "method": "fine_tune"}
        for run in predictions
    ]
    table, records = abstentions(runs, predictions, NO_POINTS, group_of, 0.05, 0.1)
    assert list(table.columns) == abstaining.COLUMNS
    plain, hopeless = table.to_dict("records")
    test = predictions["plain-s0"].query("split == 'test'")
    sure = test["probability"] >= plain["threshold"]
    assert plain["answered"] == sure.sum() > 150
    assert plain["coverage"] == sure.mean()
    assert plain["selective_accuracy"] == (test["probability"][sure] > 0.4).mean() > 0.95
    assert plain["selective_low"] < plain["selective_accuracy"] <= plain["selective_high"]
    assert plain["p_value"] == binom.cdf(
        plain["wrong_calibration"], plain["answered_calibration"], 0.05
    )
    assert plain["note"].startswith("at most 5 % of the answers wrong with probability 90 %, shown")
    assert (hopeless["coverage"], hopeless["answered"]) == (0.0, 0)
    assert pd.isna(hopeless["threshold"]) and pd.isna(hopeless["selective_accuracy"])
    assert hopeless["note"].startswith("answers nothing: at most 5 % wrong could not be shown")
    assert records["hopeless-s0"]["threshold"] is None
    assert records["plain-s0"]["threshold"] == plain["threshold"]
    summary = pd.DataFrame({"run": ["plain-s0"] * 2, "split": ["valid", "test"]})
    joined = with_abstention(summary, table)
    assert math.isnan(joined["coverage"][0]) and joined["coverage"][1] == plain["coverage"]


def study_with(abstain, calibration="keep", **changes):
    study = {**STUDY, "evaluation": {**STUDY.get("evaluation", {}), "abstain": abstain}, **changes}
    if calibration != "keep":
        study["splits"] = {**study["splits"], "calibration": calibration}
    return study


def test_calibration_images_are_answered_where_it_is_asked_for():
    study = load_study(study_with({"risk": 0.05}))
    assert study.config["evaluation"]["abstain"] == {"risk": 0.05, "delta": 0.1}
    for name in study.final_runs:
        assert study.tested_splits(name) == ["calibration", "valid", "test"]
    plain = load_study(study_with(None))
    assert {tuple(plain.tested_splits(run)) for run in plain.plain_runs} == {("valid", "test")}


def test_a_study_without_calibration_images_is_refused_with_a_remedy_that_works():
    simple = {key: value for key, value in STUDY.items() if key not in ("splits", "split_variants")}
    plain = {"method": "fine_tune", "schedule": [{"train": "head", "epochs": 1}]}
    simple |= {"experiments": {"plain": plain}, "evaluation": {"abstain": {"risk": 0.05}}}
    with pytest.raises(ConfigError) as caught:
        load_study(simple)
    assert str(caught.value) == (
        "splits.calibration: missing; evaluation.abstain makes its thresholds on calibration images; "
        "add calibration: {from: valid, fraction: 0.5}"
    )
    load_study({**simple, "splits": {"calibration": {"from": "valid", "fraction": 0.5}}})


def asked_of(risk, method="fine_tune", **evaluation):
    asked = {"method": method, "splits": "splits", "evaluation": evaluation}
    abstain = {"risk": risk, "delta": 0.1}
    return {"plain": asked | {"options": {"abstain": abstain}, "abstain": abstain}}


def test_too_few_calibration_images_are_told_before_anything_is_trained():
    splits = load_study(study_with({"risk": 0.05})).split_sets["splits"]
    index = pd.DataFrame(
        {
            "id": [f"i{k}" for k in range(900)],
            "split": ["train"] * 500 + ["valid"] * 200 + ["test"] * 200,
            "label": [k % 2 for k in range(900)],
            "class_name": [str(k % 2) for k in range(900)],
            "group": "",
        }
    )
    splits = splits | {"mode": "official", "calibration": {"from": "valid", "fraction": 0.25}}
    with pytest.raises(DataError) as caught:
        check_images(index, {"splits": splits}, asked_of(0.02))
    assert str(caught.value) == (
        "evaluation.abstain.risk: 0.02 cannot be shown with 50 calibration images, be every answer "
        "right: at least 114 are needed; write risk: 0.05, or raise splits.calibration.fraction or add "
        "images"
    )
    check_images(index, {"splits": splits}, asked_of(0.05))
    more = splits | {"calibration": {"from": "valid", "fraction": 0.6}}
    check_images(index, {"splits": more}, asked_of(0.02))


HOW = {"calibration": {"certify": 0.75, "abstain": 0.5, "seed": 0}, "targets": {"risk": []}}


def test_early_exits_keep_images_apart_that_make_no_threshold():
    groups = [f"scan {k // 3}" for k in range(300)]
    making, apart = kept_apart(groups, HOW, {"risk": 0.05, "delta": 0.1})
    assert sorted([*making, *apart]) == list(range(300))
    assert len(apart) == 150
    assert not {groups[k] for k in making} & {groups[k] for k in apart}
    assert kept_apart(groups, HOW, None) == (list(range(300)), [])


def test_early_exits_that_keep_too_few_apart_are_told():
    abstain = {"risk": 0.02, "delta": 0.1}
    check_targets("experiments.e", HOW, [""] * 230, abstain)
    with pytest.raises(DataError, match=r"risk: 0.02 cannot be shown with 100 calibration images"):
        check_targets("experiments.e", HOW, [""] * 200, abstain)


def test_no_threshold_answers_no_image():
    assert not abstaining.answered(np.ones(3), NEVER).any()


@pytest.fixture(scope="module")
def unsure(finished, tmp_path_factory):
    """The finished study once more, with models that may say "unsure"; its results."""
    folder = copy_dated(finished, tmp_path_factory.mktemp("unsure"))

    def ask(study):
        study["evaluation"]["abstain"] = {"risk": 0.95, "delta": 0.4}
        study["experiments"]["early"]["calibration"]["abstain"] = 0.15
        study["seeds"] = [0]
        for name in ("search", "unfreeze_last", "first_two", "halting", "boxes"):
            study["experiments"].pop(name, None)

    edit(folder, ask)
    run(
        folder,
        *TINY,
        "--resources",
        "gpu=0",
        "--",
        "results/tiny/answer.html",
        "results/tiny/abstain.html",
    )
    return results_of(folder)


@pytest.mark.workflow
def test_the_workflow_says_of_every_run_when_it_is_unsure(unsure):
    told = pd.read_csv(unsure / "abstain.csv").set_index("run")
    summary = pd.read_csv(unsure / "summary.csv").query("split == 'test'").set_index("run")
    assert set(told.index) == {"frozen-s0", "early-s0", "merged-s0", "pruned-s0"}
    for name, row in told.iterrows():
        answers = pd.read_csv(unsure / "runs" / name / "predictions.csv")
        test = answers.query("split == 'test'")
        sure = test["probability"] >= (NEVER if pd.isna(row["threshold"]) else row["threshold"])
        assert row["answered"] == sure.sum()
        assert row["coverage"] == pytest.approx(summary.loc[name, "coverage"])
        assert row["n_calibration"] == (answers["split"] == "calibration").sum()
    assert told["answered"].max() > 0
    # Early exits made thresholds with the others.
    assert told.loc["early-s0", "n_calibration"] < told.loc["frozen-s0", "n_calibration"]
    assert set(pd.read_csv(unsure / "metrics.csv")["split"]) == {"valid", "test"}
    page = (unsure / "abstain.html").read_text()
    assert all(name in page for name in ("frozen", "early", "at most 95 % of its answers"))
    first = (unsure / "answer.html").read_text()
    assert "unsure" in first
    for name in ("abstain.html", "comparisons.html", "model_card.html"):
        assert f"href='{name}'" in first
    assert (unsure / "model_card.html").is_file() and (unsure / "comparisons.csv").is_file()


@pytest.fixture(scope="module")
def photos(unsure, tmp_path_factory):
    """The study's test images as files, named by their ids."""
    folder, store = tmp_path_factory.mktemp("photos"), unsure.parents[1] / "data/digits/store"
    for name, pixels in zip(Store(store).ids("test"), Store(store).images("test")):
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


def predict(*words):
    words = ["predict", *map(str, words), "--abstain", "--device", "cpu", "--workers", "0"]
    return CliRunner().invoke(frugalvit, words)


@pytest.mark.workflow
@pytest.mark.parametrize("name", ["frozen-s0", "early-s0"])
def test_a_photo_below_the_runs_threshold_has_no_class(unsure, photos, tmp_path, name):
    run_folder = shutil.copytree(unsure / "runs" / name, tmp_path / name)
    known = pd.read_csv(run_folder / "predictions.csv").query("split == 'test'").sort_values("id")
    told = read_json(run_folder / "abstain.json")
    middle = known["probability"].median() - 1e-7
    for threshold in (told["threshold"], middle, None):
        write_json(run_folder / "abstain.json", told | {"threshold": threshold})
        done = predict(run_folder, photos, "--format", "csv")
        assert done.exit_code == 0, (done.output, done.exception)
        found = pd.read_csv(io.StringIO(done.stdout))
        assert list(found.columns)[:4] == ["file", "class", "probability", "unsure"]
        sure = (known["probability"] >= (NEVER if threshold is None else threshold)).to_numpy()
        assert (found["unsure"].to_numpy() == ~sure).all()
        assert (found["class"].isna().to_numpy() == ~sure).all()
    write_json(run_folder / "abstain.json", told | {"threshold": middle})
    rows = map(json.loads, predict(run_folder, photos, "--json").stdout.splitlines())
    assert {(row["unsure"], row["class"] == "") for row in rows} == {(True, True), (False, False)}


@pytest.mark.workflow
def test_it_says_unsure_only_where_the_workflow_showed_when(unsure, photos, tmp_path):
    image = photos / "test-000000.png"
    run_folder = shutil.copytree(unsure / "runs" / "early-s0", tmp_path / "early-s0")
    told = read_json(run_folder / "abstain.json")
    other = predict(run_folder, image, "--point", "full")
    assert isinstance(other.exception, ConfigError)
    assert f"at its chosen point, {told['point']}, not at full" in str(other.exception)
    assert predict(run_folder, image, "--point", told["point"]).exit_code == 0
    write_json(run_folder / "abstain.json", told | {"weights_sha256": "of another training"})
    stale = predict(run_folder, image)
    assert "is of other weights; let the workflow make it anew" in str(stale.exception)
    (run_folder / "abstain.json").unlink()
    none = predict(run_folder, image)
    assert "no abstain.json; set evaluation.abstain in the study" in str(none.exception)
