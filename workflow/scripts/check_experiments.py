"""Early checks: what every phase trains and freezes, and what else a method can refuse of a base."""

import logging
from pathlib import Path

from frugalvit.data.store import Store
from frugalvit.errors import within
from frugalvit.files import write_json
from frugalvit.jobs.run import run_job
from frugalvit.methods.registry import has, part
from frugalvit.methods.trained import start_run
from frugalvit.training.freezing import freeze_check, freeze_tables

log = logging.getLogger(__name__)


def main(snakemake):
    store = Store(Path(snakemake.input.store[0]).parent)
    base = Path(snakemake.input.base[0]).parent
    reports = {}
    for name, experiment in snakemake.params.experiments.items():
        settings = experiment["settings"]
        with within(f"experiments.{name}"):
            model = start_run(settings, base, None, len(store.class_names))
        reports |= freeze_check(model, {name: experiment["schedule"]})
        if has(settings["method"], "check"):
            with within(f"experiments.{name}"):
                check = part(settings["method"], "check").check
                check(model.eval(), settings, experiment["evaluation"])
    for line in freeze_tables(reports):
        log.info("%s", line)
    write_json(snakemake.output[0], reports)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
