"""The freeze check: what every phase of every experiment trains and freezes, told and written."""

from pathlib import Path

from frugalvit.card import write_json
from frugalvit.data.store import Store
from frugalvit.job import run_job
from frugalvit.models.base import build_from_base
from frugalvit.training.freezing import freeze_check


def main(snakemake):
    num_classes = len(Store(Path(snakemake.input.store[0]).parent).class_names)
    model = build_from_base(Path(snakemake.input.base[0]).parent, num_classes)
    write_json(snakemake.output[0], freeze_check(model, snakemake.params.schedules))


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
