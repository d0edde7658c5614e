"""Early checks: what every phase trains and freezes, what halting and calibration can reach."""

from pathlib import Path

from frugalvit.data.store import Store, read_index
from frugalvit.errors import ConfigError
from frugalvit.files import write_json
from frugalvit.jobs.run import run_job
from frugalvit.methods.avit.objective import check_halting
from frugalvit.methods.avit.tables import check_indices
from frugalvit.methods.early_exit.targets import check_targets
from frugalvit.methods.tokens.points import token_points
from frugalvit.methods.trained import start_run
from frugalvit.models.backbone import architecture_of, backbone_of
from frugalvit.training.freezing import freeze_check


def main(snakemake):
    store = Store(Path(snakemake.input.store[0]).parent)
    base = Path(snakemake.input.base[0]).parent
    splits = {Path(path).parent.name: read_index(path) for path in snakemake.input.assignments}
    reports = {}
    for name, experiment in snakemake.params.experiments.items():
        try:
            settings = experiment["settings"]
            model = start_run(settings, base, None, len(store.class_names))
            if "halting" in settings:
                architecture = architecture_of(backbone_of(model))
                check_halting(settings["halting"], architecture, len(store.class_names))
            if experiment["tokens"]:
                token_points(model, settings["method"], experiment["tokens"])
                count = (splits[experiment["splits"]]["split"] == "test").sum()
                check_indices(snakemake.params.depth_images, count)
        except ConfigError as error:
            raise ConfigError(f"experiments.{name}: {error}") from None
        reports |= freeze_check(model, {name: experiment["schedule"]})
        if experiment["exits"]:
            assigned = splits[experiment["splits"]]
            ids = assigned.loc[assigned["split"] == "calibration", "id"].tolist()
            check_targets(name, experiment["exits"], store.groups(ids))
    write_json(snakemake.output[0], reports)


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
