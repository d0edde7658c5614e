"""Logistic regression on the base's features after every block: the reference for early exits."""

from pathlib import Path

from frugalvit.data.assignments import read_assignments
from frugalvit.data.batches import ImageSet
from frugalvit.data.feature_files import read_features
from frugalvit.data.store import Store
from frugalvit.evaluation.probes import probe_blocks
from frugalvit.files import write_csv
from frugalvit.jobs.run import run_job
from frugalvit.models.base import load_card


def main(snakemake):
    store = Store(Path(snakemake.input.store[0]).parent)
    assignments = read_assignments(snakemake.input.assignments, store)
    card = load_card(Path(snakemake.input.base[0]).parent)
    blocks = list(range(1, card["architecture"]["num_layers"] + 1))
    features, labels = {}, {}
    for split in ("train", "valid", "test"):
        ids = assignments.loc[assignments["split"] == split, "id"].tolist()
        images = ImageSet(store, ids, card["preprocessing"])
        folder = Path(snakemake.input.features[0]).parent
        features[split] = read_features(folder, images, blocks)[:, 0].numpy()
        labels[split] = images.labels.numpy()
    write_csv(snakemake.output[0], probe_blocks(features, labels, ("valid", "test")))


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
