"""Evaluate a run whose tokens leave: answers, what each point costs, and where tokens halted."""

import logging
from pathlib import Path

import pandas as pd

from frugalvit.data.batches import ImageSet
from frugalvit.data.store import Store, read_index
from frugalvit.devices.fabric import make_fabric
from frugalvit.evaluation.confident import confident_mistakes
from frugalvit.evaluation.metrics import batch_averages, classification_metrics, predictions
from frugalvit.files import write_csv, write_json
from frugalvit.jobs.run import run_job
from frugalvit.methods.avit.tables import Halting
from frugalvit.methods.tokens.evaluated import point_row
from frugalvit.methods.tokens.points import answer, token_points
from frugalvit.methods.trained import load_run

log = logging.getLogger(__name__)


def main(snakemake):
    params, out = snakemake.params, snakemake.output
    store = Store(Path(snakemake.input.store[0]).parent)
    assignments = read_index(snakemake.input.assignments)
    model, card = load_run(Path(snakemake.input.weights).parent)
    fabric = make_fabric(snakemake.resources.gpu, snakemake.threads, card["precision"])
    points = token_points(model.eval(), params.method, params.tokens)
    rows, tables, metrics, found = [], [], {}, {}
    for split in ("valid", "test"):
        ids = assignments.loc[assignments["split"] == split, "id"].tolist()
        images = ImageSet(store, ids, card["preprocessing"])
        answers = {
            point.name: answer(fabric, point.module, images, params.batch_size) for point in points
        }
        rows += [point_row(point, split, answers[point.name], images.labels) for point in points]
        logits, depths, _ = answers[points[0].name]
        table = predictions(ids, split, logits, images.labels)
        metrics[split] = classification_metrics(logits, images.labels)
        metrics[split] |= batch_averages(logits, images.labels)
        if depths is not None:
            found[split] = Halting(table, images, *list(answers.values())[:2])
            table = found[split].with_depths()
            metrics[split] |= found[split].measures()
        tables.append(table)
        log.info("%s: accuracy %.4f over %d images", split, metrics[split]["accuracy"], len(ids))
    table = pd.concat(tables)
    write_csv(out.predictions, table)
    write_csv(out.thumbnails, confident_mistakes(table, store, params.mistakes))
    write_csv(out.points, pd.DataFrame(rows))
    write_json(out.metrics, metrics)
    if found:
        write_csv(out.halting, pd.concat([part.table(params.tokens) for part in found.values()]))
        write_csv(out.images, found["test"].pictures(params.images))


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
