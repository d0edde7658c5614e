"""Export weights that networks of experiments begin with, and a card."""

from frugalvit.data.mirror import find_mirror
from frugalvit.jobs.run import run_job
from frugalvit.models.networks.network_weights import export_network


def main(snakemake):
    export_network(
        snakemake.params.weights,
        snakemake.output.weights,
        snakemake.output.card,
        mirror=find_mirror(snakemake.config),
    )


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
