"""Evaluate a run with early exits: thresholds from calibration images, then every split."""

import logging
from pathlib import Path

import pandas as pd

from frugalvit.data.store import Store, read_index
from frugalvit.devices.fabric import make_fabric
from frugalvit.evaluation.confident import confident_mistakes
from frugalvit.evaluation.metrics import classification_metrics, predictions
from frugalvit.evaluation.predict import logits_of
from frugalvit.files import write_csv, write_json
from frugalvit.jobs.run import run_job
from frugalvit.methods.early_exit.criteria import decide
from frugalvit.methods.early_exit.points import evaluate_points
from frugalvit.methods.early_exit.tables import (
    costs_of,
    exits_table,
    first_and_last,
)
from frugalvit.methods.early_exit.targets import calibrate
from frugalvit.methods.trained import load_run

log = logging.getLogger(__name__)


def main(snakemake):
    store, params = Store(Path(snakemake.input.store[0]).parent), snakemake.params
    assignments = read_index(snakemake.input.assignments)
    model, card = load_run(Path(snakemake.input.weights).parent)
    fabric = make_fabric(snakemake.resources.gpu, snakemake.threads, card["precision"])
    features = Path(snakemake.input.features[0]).parent if snakemake.input.features else None
    ids, splits = {}, {}
    for split in ("calibration", "valid", "test"):
        ids[split] = assignments.loc[assignments["split"] == split, "id"].tolist()
        how = (store, ids[split], card["preprocessing"], features, params.batch_size)
        splits[split] = logits_of(fabric, model, *how)
    costs = costs_of(card)
    groups = store.groups(ids["calibration"])
    found = calibrate(params.experiment, params.exits, *splits["calibration"], groups, costs)
    point = found.deployed
    log.info(
        "in use: %s %s by %s >= %.4f", point.setting, point.value, point.criterion, point.threshold
    )
    for each in found.points:
        if each.note:
            log.info("%s %s: %s", each.setting, each.value, each.note)
    tables, metrics = [], {}
    for split in ("valid", "test"):
        logits, labels = splits[split]
        left, answers = decide(logits, found.temperatures, point.criterion, point.threshold)
        table = predictions(ids[split], split, answers, labels)
        tables.append(table.assign(exit=[costs.blocks[place] for place in left.tolist()]))
        metrics[split] = classification_metrics(answers, labels)
    table = pd.concat(tables)
    out = snakemake.output
    write_csv(out.predictions, table)
    write_csv(out.thumbnails, confident_mistakes(table, store, params.mistakes))
    write_csv(out.images, first_and_last(table, store, params.mistakes // 2))
    write_csv(out.exits, exits_table(splits, found.temperatures, costs))
    write_csv(out.points, evaluate_points(found.points, splits, found.temperatures, costs))
    write_json(out.metrics, metrics)
    counts = {"fitted": found.fitted, "certified": found.certified}
    temperatures = found.temperatures.tolist()
    write_json(out.calibration, {"exits": costs.blocks, "temperatures": temperatures, "n": counts})


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
