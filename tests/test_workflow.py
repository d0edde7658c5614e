"""The workflow as its users run it: from nothing to figures, again, edited, redrawn."""

import json
import re

import pandas as pd
import pytest

from frugalvit import operating_point
from tests.imagefolders import write_folder
from tests.workflows import STUDY, TINY, copy_tiny, edit, planned, results_of, run, snakemake

pytestmark = pytest.mark.workflow
COLUMNS = [
    "study", "experiment", "run", "method", "seed", "split", "n", "accuracy", "macro_f1", "loss",
    "ece", "gflops", "latency_ms", "images_per_s", "params_m", "train_seconds", "peak_memory_mb",
    "device", "selected", "warning", "mean_iou", "iou_50", "iou_75", "iou_90", "joint",
]  # fmt: skip


def test_a_study_runs_from_nothing_to_its_tables(finished):
    results = results_of(finished)
    summary = pd.read_csv(results / "summary.csv")
    assert list(summary.columns) == COLUMNS
    final = summary[~summary["run"].str.contains("-g|:")]
    twice = ("frozen", "unfreeze_last", "search", "early", "halting", "merged")
    expected = [f"{name}-s{seed}" for name in twice for seed in (0, 1)]
    assert sorted(final["run"].unique()) == sorted(
        [*expected, "boxes-s0", "first_two-s0", "pruned-s0"]
    )
    assert sorted(final["split"].unique()) == ["test", "valid"]
    assert final[["gflops", "latency_ms", "images_per_s", "params_m"]].notna().all().all()
    assert final["device"].eq("cpu (1 thread)").all()
    swapped = final[(final["experiment"] == "unfreeze_last") & (final["split"] == "test")]
    assert swapped["n"].eq(200).all(), "sets swapped: the 200 training images are tested"
    for row in final.itertuples():
        predictions = pd.read_csv(results / "runs" / row.run / "predictions.csv")
        mine = predictions[predictions["split"] == row.split]
        assert len(mine) == row.n
        assert (mine["label"] == mine["predicted"]).mean() == pytest.approx(row.accuracy)


def test_a_search_tests_only_its_winner(finished):
    summary = pd.read_csv(results_of(finished) / "summary.csv", dtype={"selected": str})
    search = summary[summary["experiment"] == "search"]
    points = search[search["run"].str.contains("-g")]
    assert points["split"].eq("valid").all()
    assert sorted(points["selected"]) == ["False", "True"]
    winner = points[points["selected"] == "True"].iloc[0]
    assert winner["accuracy"] == points["accuracy"].max()
    card = json.loads((results_of(finished) / "runs/search-s0/card.json").read_text())
    assert card["reused_from"] == winner["run"]
    others = summary[summary["experiment"] != "search"]
    assert others["selected"].isna().all()


def test_cards_tell_where_results_come_from(finished):
    results = results_of(finished)
    card = json.loads((results / "runs/unfreeze_last-s1/card.json").read_text())
    assert card["seed"] == 1
    assert [phase["train"] for phase in card["frozen"]] == ["head", "all"]
    assert card["n"] == {"train": 60, "valid": 60}
    assert len(card["sha256"]["base"]) == 64
    assert card["environment"]["torch"]
    base = json.loads((results / "base/card.json").read_text())
    assert base["frozen"]["head"]["trainable"] == 0
    check = json.loads((results / "base/experiment_checks.json").read_text())
    trained = {"frozen", "unfreeze_last", "search", "first_two", "early", "halting", "boxes"}
    assert set(check) == trained | {"merged", "pruned"}
    assert check["early"][0]["parts"]["exits"] == "trains"
    assert "block 3" not in check["first_two"][0]["parts"]
    assert [phase["train"] for phase in check["halting"]] == ["head", "all"]
    assert check["merged"] == []


def test_a_second_call_finds_nothing_to_do(finished):
    assert "Nothing to be done" in run(finished, *TINY, "--resources", "gpu=0", "--dry-run")


def test_the_report_needs_no_number_of_cores(finished, tmp_path):
    report = tmp_path / "report.html"
    run(finished, "--configfile", STUDY, "--report", str(report))
    assert report.stat().st_size > 100_000


def test_jobs_ask_for_the_gpu(finished):
    words = run(finished, *TINY, "--dry-run", "--forceall", "--resources", "gpu=1")
    asked = re.findall(r"(?m)^ +resources: (.*gpu=1.*)$", words)
    graphic = {"train_run": 14, "extract_features": 1, "measure_cost": 1}
    for method in ("fine_tune", "early_exit", "avit", "token_merging"):
        graphic |= {f"evaluate_{method}_s0": 1, f"evaluate_{method}_s1": 1}
    graphic |= {"evaluate_token_pruning_s0": 1, "evaluate_localize_s0": 1}
    for rule in graphic:
        block = re.search(rf"(?ms)^rule {rule}:.*?(?=^\[|\Z)", words)[0]
        assert re.search(r"(?m)^ +resources: .*\bgpu=1\b", block), rule
        assert "runtime=" in block
    assert len(asked) == sum(graphic.values())


def test_a_changed_module_reruns_only_what_uses_it(copied):
    library = copied / "workflow" / "frugalvit"
    module = library / "figures" / "confusion.py"
    module.write_text(module.read_text() + "\n# A comment cannot change a result.\n")
    assert planned(copied, *TINY) == {}
    module.write_text(module.read_text() + "\nADDED = 1\n")
    assert planned(copied, *TINY) == {
        "plot_fine_tune": 4, "plot_early_exit": 1, "plot_avit": 1, "plot_localize": 1,
        "plot_token_merging": 1, "plot_token_pruning": 1,
    }  # fmt: skip
    summary = library / "evaluation" / "summary.py"
    summary.write_text(summary.read_text() + "\nADDED = 1\n")
    plan = planned(copied, *TINY)
    assert plan["summarize"] == 1
    assert not {"train_run", "prepare_dataset", "export_base"} & set(plan)
    assert not any(rule.startswith("evaluate_") for rule in plan)
    loop = library / "training" / "loop.py"
    loop.write_text(loop.read_text() + "\nADDED = 1\n")
    plan = planned(copied, *TINY)
    assert plan["train_run"] == 14
    assert not {"prepare_dataset", "check_splits", "export_base", "extract_features"} & set(plan)


def evaluate_apart(folder):
    """Make the finished study one that evaluates each run in a job of its own."""
    edit(folder, lambda study: study["evaluation"].update(together=False))
    run(folder, *TINY, "--touch", "--forceall")
    assert planned(folder, *TINY) == {}


def test_an_edited_experiment_reruns_only_its_rules(copied):
    def lower_rate(study):
        study["experiments"]["unfreeze_last"]["lr"] = 0.001

    evaluate_apart(copied)
    edit(copied, lower_rate)
    plan = planned(copied, *TINY)
    assert plan == {
        "train_run": 2, "evaluate_fine_tune": 2, "summarize": 1, "answer": 1,
        "plot_fine_tune": 1, "plot_early_exit": 1, "plot_comparison": 1,
    }  # fmt: skip


def test_an_added_experiment_leaves_the_others_alone(copied):
    def add(study):
        study["experiments"]["last_two"] = {
            "method": "fine_tune",
            "schedule": [{"train": {"blocks": 2}, "epochs": 1}],
        }

    evaluate_apart(copied)
    edit(copied, add)
    plan = planned(copied, *TINY)
    assert plan["train_run"] == plan["evaluate_fine_tune"] == 2
    assert plan["plot_fine_tune"] == plan["plot_comparison"] == 1
    assert not {"extract_features", "prepare_dataset", "export_base", "measure_cost"} & set(plan)


def test_a_clone_with_tables_alone_redraws_and_trains_nothing(finished, tmp_path):
    clone = copy_tiny(tmp_path)
    tables = results_of(finished).rglob("*.csv")
    for path in sorted(tables, reverse=True):
        target = clone / path.relative_to(finished)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())  # dates in an order that no run would give
    plan = planned(clone, *TINY, "--", "figures")
    assert plan == {
        "plot_splits": 2, "plot_fine_tune": 4, "plot_early_exit": 1, "plot_avit": 1,
        "plot_localize": 1, "plot_token_merging": 1, "plot_token_pruning": 1, "plot_grid": 1,
        "plot_comparison": 1,
    }  # fmt: skip
    run(clone, *TINY, "--", "figures")
    for figure in sorted(results_of(finished).glob("figures/*")):
        redrawn = results_of(clone) / "figures" / figure.name
        assert redrawn.read_bytes() == figure.read_bytes(), figure.name
    assert not list(results_of(clone).rglob("*.safetensors"))


def test_a_mistake_in_the_config_is_one_line(copied):
    edit(copied, lambda study: study["experiments"]["frozen"].update(epoch=3))
    done = snakemake(copied, *TINY, "--dry-run")
    assert done.returncode != 0
    told = [line for line in done.stderr.splitlines() if "error" in line]
    lines = (copied / STUDY).read_text().splitlines()
    assert told == [
        "error in the configuration: experiments.frozen.epoch: unknown key; did you mean 'epochs'? "
        f"(line {lines.index('    epoch: 3') + 1} of {STUDY})"
    ]
    assert "Traceback" not in done.stderr


def test_command_line_overrides_reach_the_runs(finished):
    words = run(
        finished, "--dry-run", "--quiet", "rules", "--config", "seeds=[0, 5]", "training={lr: 0.5}"
    )
    assert "train_run" in words
    done = snakemake(finished, *TINY, "--dry-run", "--config", "training={lr: -1}")
    assert "training.lr: -1 is too small" in done.stderr


def test_operating_points_are_what_the_predictions_say(finished):
    results = results_of(finished)
    table = pd.read_csv(results / "operating_points.csv", dtype={"exit_histogram": str})
    assert list(table.columns) == operating_point.COLUMNS
    table = table[table["method"] == "early_exit"]
    assert set(table["run"]) == {"early-s0", "early-s1"}
    assert set(table["split"]) == {"calibration", "valid", "test"}
    assert table[["latency_ms", "latency_p95_ms", "images_per_s"]].notna().all().all()
    assert table.loc[table["chosen"].astype(bool), "setting"].eq("drop").all()
    summary = pd.read_csv(results / "summary.csv")
    assert not summary.duplicated(["run", "split"]).any()
    for name in ("early-s0", "early-s1"):
        mine = table[(table["run"] == name) & (table["split"] == "test")].set_index("setting")
        predictions = pd.read_csv(results / "runs" / name / "predictions.csv")
        test = predictions[predictions["split"] == "test"]
        used = mine.loc["drop"]
        left = test["exit"].value_counts().reindex([1, 2, 3], fill_value=0)
        assert used["exit_histogram"] == " ".join(map(str, left))
        assert used["accuracy"] == pytest.approx((test["label"] == test["predicted"]).mean())
        assert used["mean_depth"] == pytest.approx(test["exit"].mean())
        row = summary[(summary["run"] == name) & (summary["split"] == "test")].iloc[0]
        assert row["gflops"] == pytest.approx(used["gflops"])
        assert row["latency_ms"] == pytest.approx(used["latency_ms"])
        assert row["params_m"] == used["params_m"]
        assert mine.loc["full"]["params_m"] < used["params_m"] or used["threshold"] == float("inf")
        assert {"full", "budget", "risk"} <= set(mine.index)
        cost = pd.read_csv(results / "runs" / name / "cost.csv")
        assert set(cost["batch_size"]) == {1, 32, 128}
        assert cost.loc[cost["model"] == "full", "gflops"].nunique() == 1
    first_two = summary[summary["experiment"] == "first_two"]["gflops"].max()
    assert first_two < summary[summary["experiment"] == "frozen"]["gflops"].min()


def test_a_new_target_evaluates_anew_and_trains_nothing(copied):
    edit(copied, lambda study: study["experiments"]["early"]["targets"].update(budget=[0.6]))
    plan = planned(copied, *TINY)
    assert {rule for rule in plan if rule.startswith("evaluate_")} == {
        "evaluate_early_exit_s0", "evaluate_early_exit_s1",
    }  # fmt: skip
    assert not {"train_run", "check_splits", "probe_blocks"} & set(plan)


def test_a_study_of_early_exits_alone_can_be_planned(copied):
    def exits_alone(study):
        early = study["experiments"]["early"] | {"schedule": [{"train": "heads", "epochs": 1}]}
        del early["from"]
        study["experiments"] = {"early": early}

    edit(copied, exits_alone)
    plan = planned(copied, *TINY)
    assert {rule for rule in plan if rule.startswith("evaluate_")} == {
        "evaluate_early_exit_s0", "evaluate_early_exit_s1",
    }  # fmt: skip


def test_a_promise_that_calibration_cannot_show_is_one_line_before_training(copied):
    risk = [{"epsilon": 0.01, "delta": 0.05}]
    edit(copied, lambda study: study["experiments"]["early"]["targets"].update(risk=risk))
    (copied / "results/tiny/runs/early-s0/weights.safetensors").unlink()
    (copied / "results/tiny/runs/early-s0/card.json").unlink()
    done = snakemake(copied, *TINY, "--resources", "gpu=0", "--cores", "1")
    assert done.returncode != 0
    assert not (copied / "results/tiny/runs/early-s0/weights.safetensors").exists()
    told = next(line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert "experiments.early.targets.risk[0].epsilon: 0.01 cannot be shown with 36" in told
    assert "Traceback" not in done.stderr
    assert "RuleException" not in done.stderr
    log = "logs/tiny/check_experiments.log"
    last = done.stderr[done.stderr.index("check_experiments failed: ") :].splitlines()
    assert last[:2] == [
        f"check_experiments failed: {told.removeprefix('error: ')}",
        f"  log: {log}",
    ]
    assert last[2].startswith("Mend this and give the same command again")
    assert [line.split(":")[0] for line in last[3:]] == ["Complete log(s)", "Elapsed time"]


def test_too_few_calibration_images_are_one_line(copied):
    edit(copied, lambda study: study["splits"]["calibration"].update(fraction=0.2))
    target = "results/tiny/base/experiment_checks.json"
    done = snakemake(copied, *TINY, "--resources", "gpu=0", "--", target)
    assert done.returncode != 0
    told = next(line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert "splits.calibration.fraction: gives 24 calibration images, but at least 50" in told


def test_broken_images_are_told_in_one_line_and_can_be_left_out(tmp_path):
    folder = copy_tiny(tmp_path)
    photos = write_folder(folder / "photos", {f"class_{k}": 8 for k in range(3)})
    (photos / "class_1" / "broken.jpg").write_bytes(b"\xff\xd8 no image")

    def use_photos(study):
        study["dataset"] = {"source": "folder", "path": "photos", "name": "photos", "resize": 24}
        study["splits"] = {"mode": "fraction", "fraction": 0.5}
        study["split_variants"] = {}
        study["experiments"] = {"frozen": study["experiments"]["frozen"]}

    edit(folder, use_photos)
    done = snakemake(
        folder, *TINY, "--resources", "gpu=0", "--", "results/tiny/splits/assignments.csv"
    )
    assert done.returncode != 0
    told = next(line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert "class_1/broken.jpg" in told
    assert "dataset.skip_bad_images: true" in told
    assert "Traceback" not in (folder / "logs/tiny/prepare_dataset/photos-24px.log").read_text()
    edit(folder, lambda study: study["dataset"].update(skip_bad_images=True))
    run(folder, *TINY, "--resources", "gpu=0", "--", "results/tiny/splits/assignments.csv")
    report = json.loads((folder / "data/photos-24px/store/report.json").read_text())
    assert [bad["file"] for bad in report["skipped"]] == ["class_1/broken.jpg"]
