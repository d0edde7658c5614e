"""Measure the networks that plain fine-tuned runs share: the base with a head, whole or cut."""

from pathlib import Path

import pandas as pd

from frugalvit.data.store import Store
from frugalvit.devices.fabric import make_fabric, precision_of
from frugalvit.evaluation.cost import COLUMNS, LARGE_BATCH, measure
from frugalvit.files import write_csv
from frugalvit.jobs.run import run_job
from frugalvit.methods.method import PLAIN
from frugalvit.models.backbone import architecture_of
from frugalvit.models.base import build_from_base
from frugalvit.models.flops import vit_flops


def main(snakemake):
    base = Path(snakemake.input.base[0]).parent
    num_classes = len(Store(Path(snakemake.input.store[0]).parent).class_names)
    settings = snakemake.params.evaluation
    threads = min(snakemake.threads, snakemake.params.threads)
    fabric = make_fabric(snakemake.resources.gpu, threads)
    for keep, path in zip(snakemake.params.keep_blocks, snakemake.output):
        model = build_from_base(base, num_classes, num_layers=keep)
        shape = architecture_of(model)
        rows = measure(
            fabric.setup_module(model.eval()),
            shape["image_size"],
            fabric.device,
            [1, settings["throughput_batch"], LARGE_BATCH],
            threads,
            settings["measure_seconds"],
        )
        table = pd.DataFrame(rows).assign(
            model=PLAIN,
            gflops=vit_flops(shape, num_classes),
            precision=precision_of(fabric),
        )
        write_csv(path, table[COLUMNS])


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
