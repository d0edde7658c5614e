"""Evaluate one run over whole splits: predictions, metrics, and its most confident mistakes."""

from pathlib import Path

import pandas as pd

from frugalvit.data.store import Store, read_index
from frugalvit.devices.fabric import make_fabric
from frugalvit.evaluation.confident import confident_mistakes
from frugalvit.evaluation.metrics import batch_averages, classification_metrics, predictions
from frugalvit.evaluation.predict import logits_of
from frugalvit.files import write_csv, write_json
from frugalvit.jobs.run import run_job
from frugalvit.methods.trained import load_run


def main(snakemake):
    store = Store(Path(snakemake.input.store[0]).parent)
    assignments = read_index(snakemake.input.assignments)
    model, card = load_run(Path(snakemake.input.weights).parent)
    fabric = make_fabric(snakemake.resources.gpu, snakemake.threads, card["precision"])
    features = Path(snakemake.input.features[0]).parent if snakemake.input.features else None
    tables, metrics = [], {}
    for split in snakemake.params.splits:
        ids = assignments.loc[assignments["split"] == split, "id"].tolist()
        how = (store, ids, card["preprocessing"], features, snakemake.params.batch_size)
        logits, labels = logits_of(fabric, model, *how)
        tables.append(predictions(ids, split, logits, labels))
        metrics[split] = classification_metrics(logits, labels) | batch_averages(logits, labels)
        print(f"{split}: accuracy {metrics[split]['accuracy']:.4f} over {len(ids)} images")
    table = pd.concat(tables)
    write_csv(snakemake.output.predictions, table)
    write_csv(
        snakemake.output.thumbnails, confident_mistakes(table, store, snakemake.params.mistakes)
    )
    write_json(snakemake.output.metrics, metrics)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
