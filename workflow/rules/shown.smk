# What rules of figures look up: their tables, their files, their part of the configuration.
from frugalvit.config.job_params import probes_table
from frugalvit.figures.shown import caption, jobs

# The report shows SVG.
FORMATS = ["svg", *(kind for kind in STUDY.config["figures"]["formats"] if kind != "svg")]
PAGE = {key: STUDY.config["figures"][key] for key in ("width_mm", "dpi")}
OF_EXPERIMENT = {
    name: {
        "runs": experiment.final_runs,
        "splits": experiment.splits,
        "probes": probes_table(experiment.base),
    }
    for name, experiment in STUDY.experiments.items()
}
SHOWN = []


def tables_of(job):
    """The tables that a job reads, by name; an experiment's are those of its runs and splits."""
    found = {}
    for name, table in job.tables.items():
        path = f"<results>/{table.path}"
        if "{run}" in path:
            runs = lookup(within=OF_EXPERIMENT, dpath="{experiment}/runs") if job.each else job.runs
            path = collect(path, run=runs)
        elif "{splits}" in path and job.each != "splits":
            keys = [key for key in ("splits", "probes") if f"{{{key}}}" in path]
            own = {key: lookup(within=OF_EXPERIMENT, dpath=f"{{experiment}}/{key}") for key in keys}
            path = collect(path, **own)
        found[name] = ancient(path) if table.ancient else path
    return found


def outputs_of(job):
    """A job's files by figure, the first of each in the report."""
    found = {}
    for figure in job.figures:
        first, *others = [f"<results>/{file}" for file in job.files(figure, FORMATS)]
        shown = report(
            first,
            caption=f"../frugalvit/{caption(figure)}",
            category=job.categories[figure],
            subcategory=f"{{{job.each}}}" if job.nested else None,
            labels=job.labels(figure),
        )
        found[figure.name] = [shown, *others]
    return found


def own(job, values):
    """The part of what a job asks of the configuration that belongs to its wildcard's value."""
    return lookup(within=values, dpath=f"{{{job.each}}}") if job.each and values else values
