"""Give a run that trains nothing the weights, the history and the card of its source."""

import shutil
from pathlib import Path

from frugalvit.checksums import check_noted
from frugalvit.errors import WeightsError
from frugalvit.files import atomic_path, read_json, write_json
from frugalvit.jobs.run import run_job


def main(snakemake):
    source, run = Path(snakemake.input[0]).parent, snakemake.params.run
    check_noted(source / "weights.safetensors", WeightsError)
    check_noted(source / "history.csv")
    for name in ("weights.safetensors", "history.csv"):
        with atomic_path(Path(snakemake.output.weights).with_name(name)) as temporary:
            shutil.copyfile(source / name, temporary)
    card = read_json(source / "card.json")
    adopted = {"run": run["run"], "method": run["settings"]["method"], "source": source.name}
    card.pop("own_train_seconds", None)
    write_json(snakemake.output.card, card | adopted | {"settings": run["settings"]})


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
