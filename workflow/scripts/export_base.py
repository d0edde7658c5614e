"""Export the base: weights in torchvision's naming, and a card."""

from frugalvit.data.mirror import find_mirror
from frugalvit.errors import renamed
from frugalvit.files import read_json
from frugalvit.jobs.run import run_job
from frugalvit.methods.base_checks import check_bases
from frugalvit.models.base import folders_of
from frugalvit.models.export import export_base
from frugalvit.training.freezing import all_freeze_reports


def main(snakemake):
    with renamed("base", snakemake.params.key):
        export_base(
            snakemake.params.base,
            snakemake.output.weights,
            snakemake.output.card,
            freeze_check=all_freeze_reports,
            mirror=find_mirror(snakemake.config),
            pretrained=snakemake.input.pretrained,
            pretraining=snakemake.params.pretraining,
        )
    # Before anything costly can start from it.
    classes = read_json(snakemake.input.checked)["classes"]
    check_bases(folders_of([snakemake.output.card]), snakemake.params.asked.value, classes)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
