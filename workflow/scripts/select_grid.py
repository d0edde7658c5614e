"""Choose the grid point that validated best."""

from pathlib import Path

from frugalvit.files import read_csv, write_csv, write_json
from frugalvit.jobs.run import run_job
from frugalvit.training.search import kept_epoch, select_point


def main(snakemake):
    search = snakemake.params.search
    runs = []
    for run, path in zip(search["runs"], snakemake.input):
        history = read_csv(path)
        runs.append(run | kept_epoch(history, run["keep"]))
    point, table = select_point(search["points"], runs)
    write_csv(snakemake.output.table, table)
    twins = {str(run["seed"]): run["run"] for run in runs if run["point"] == point}
    write_json(
        snakemake.output.choice,
        {"point": point, "settings": search["points"][point], "runs_by_seed": twins},
    )
    print(f"{Path(snakemake.output.table).stem}: {search['points'][point]} validated best")


if __name__ == "__main__":
    run_job(main, snakemake)  # noqa: F821
