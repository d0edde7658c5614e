"""Give each plain run the measured cost of the network that it shares with others."""

import shutil
from pathlib import Path

from frugalvit.files import atomic_path
from frugalvit.jobs.run import run_job


def main(snakemake):
    measured = {f"{Path(path).parent.name}/{Path(path).stem}": path for path in snakemake.input}
    for network, path in zip(snakemake.params.networks, snakemake.output):
        with atomic_path(path) as temporary:
            shutil.copyfile(measured[network], temporary)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
