"""Measure the network that all plain fine-tuned runs share: the base with a head."""

from pathlib import Path

import pandas as pd

from frugalvit.card import write_csv
from frugalvit.data.store import Store
from frugalvit.devices import make_fabric
from frugalvit.evaluation.cost import COLUMNS, measure, vit_flops
from frugalvit.job import run_job
from frugalvit.models.base import build_from_base, load_card


def main(snakemake):
    base = Path(snakemake.input.base[0]).parent
    architecture = load_card(base)["architecture"]
    num_classes = len(Store(Path(snakemake.input.store[0]).parent).class_names)
    settings = snakemake.params.evaluation
    threads = min(snakemake.threads, snakemake.params.threads)
    fabric = make_fabric(snakemake.resources.gpu, threads)
    model = fabric.setup_module(build_from_base(base, num_classes).eval())
    rows = measure(
        model,
        architecture["image_size"],
        fabric.device,
        [1, settings["throughput_batch"]],
        threads,
        settings["measure_seconds"],
    )
    table = pd.DataFrame(rows).assign(
        model="fine_tune",
        gflops=vit_flops(architecture, num_classes),
        precision=str(fabric._precision.precision),
    )
    write_csv(snakemake.output[0], table[COLUMNS])


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
