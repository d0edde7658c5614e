"""Times of operating points: what is timed beside what, and where each time goes."""

import pandas as pd
import pytest

from frugalvit.evaluation.cost import COLUMNS as COST_COLUMNS
from frugalvit.evaluation.timed_points import (
    TimedRun,
    cost_table,
    model_names,
    rows_of_run,
    sample_ids,
    with_times,
)
from frugalvit.models.flops import vit_flops
from frugalvit.operating_point import COLUMNS, FULL
from tests.small_study import ARCHITECTURE
from tests.token_models import BLOCKS, CLASSES, HOW, models_of


def points_table(method: str, **more) -> pd.DataFrame:
    rows = []
    for point in models_of(method):
        for split, gflops in (("valid", 1.0), ("test", 2.0)):
            row = point.columns
            rows.append(row | {"split": split, "gflops": gflops + point.value, **more})
    return pd.DataFrame(rows)


def timed_run(experiment: str, method: str, layers: int = BLOCKS) -> TimedRun:
    run = {"experiment": experiment, "run": f"{experiment}-s0", "seed": 0, "method": method}
    points = points_table(method)
    models = [FULL, *(point.model for point in models_of(method))]
    card = {
        "architecture": ARCHITECTURE | {"image_size": 24, "num_layers": layers, "num_classes": 10},
        "precision": "32-true",
    }
    return TimedRun(run, points, card, models)


def test_every_point_is_timed_beside_the_plain_model():
    for method in HOW:
        run = timed_run("mine", method)
        assert run.models[0] == "full"
        assert run.models[1:] == model_names(points_table(method))[::2]


def test_runs_share_the_plain_model_of_one_depth_and_nothing_else():
    runs = [timed_run("halting", "avit"), timed_run("merged", "token_merging")]
    shallow = timed_run("shallow", "token_merging", layers=2)
    assert runs[0].key("full") == runs[1].key("full") != shallow.key("full")
    assert runs[1].key("r 2") != shallow.key("r 2")
    keys = dict.fromkeys(run.key(name) for run in [*runs, shallow] for name in run.models)
    rows = [{"model": key, "batch_size": 1} for key in keys]
    assert len(rows) == 2 + 4 + 2 + 2
    for run in [*runs, shallow]:
        assert sorted(row["model"] for row in rows_of_run(rows, run)) == sorted(run.models)


def test_times_go_to_their_points():
    run = timed_run("halting", "avit")
    measured = dict.fromkeys(COST_COLUMNS)
    rows = [
        measured
        | {"model": name, "batch_size": size, "images_per_s": 100.0 * place + size}
        | ({"latency_ms": 1.0 + place, "latency_p95_ms": 2.0 + place} if size == 1 else {})
        for place, name in enumerate(run.models)
        for size in (1, 32)
    ]
    costs = cost_table(rows, run.points, run.card)
    assert list(costs.columns) == COST_COLUMNS
    gflops = costs.drop_duplicates("model").set_index("model")["gflops"]
    assert gflops["full"] == pytest.approx(vit_flops(run.card["architecture"], CLASSES))
    assert gflops["eps 0.6"] == pytest.approx(2.6), "of test images"
    table = with_times(run.points, costs, 32)
    assert list(table.columns) == COLUMNS
    for place, name in enumerate(run.models[1:], start=1):
        mine = table[table["setting"] + " " + table["value"].map("{:g}".format) == name]
        assert len(mine) == 2, "on each split"
        assert mine["latency_ms"].eq(1.0 + place).all()
        assert mine["latency_p95_ms"].eq(2.0 + place).all()
        assert mine["images_per_s"].eq(100.0 * place + 32).all()


def test_timed_images_are_spread_over_the_test_split():
    assignments = pd.DataFrame(
        {"id": [f"t{k}" for k in range(100)] + ["v0"], "split": ["test"] * 100 + ["valid"]}
    )
    ids = sample_ids(assignments, 5)
    assert sorted(ids, key=lambda name: int(name[1:])) == ["t0", "t25", "t50", "t74", "t99"]
    assert ids == sample_ids(assignments, 5)
    assert sample_ids(assignments[assignments["split"] == "valid"], 5) == ["v0"]
    assert len(sample_ids(assignments, 500)) == 100
