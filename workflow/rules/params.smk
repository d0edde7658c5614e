# What rules look up of the configuration for one run or experiment, and nothing else of it.

SHAPE = (
    "method",
    "dropout",
    "stochastic_depth",
    "exits",
    "exit_head",
    "halting",
)  # settings that decide a model's shape

# What a measurement depends on.
MEASURED = {
    key: STUDY.config["evaluation"][key]
    for key in ("throughput_batch", "measure_seconds", "measure_images")
}


def check_params():
    """What the early check reads of each experiment: shape, schedule, and what is to be certified."""
    checked = {}
    for name, experiment in STUDY.experiments.items():
        run = STUDY.runs[experiment.final_runs[0]]
        checked[name] = {
            "settings": {
                **{key: run.settings[key] for key in SHAPE if key in run.settings},
                "keep_blocks": experiment.keep_blocks,
            },
            "schedule": [
                {key: phase[key] for key in ("train", "epochs")} for phase in experiment.schedule
            ],
            "splits": experiment.splits,
            "exits": experiment.exits,
            "tokens": experiment.tokens,
        }
    return checked


def run_params(wildcards):
    """Everything of the config that a run depends on, and nothing else."""
    run = STUDY.runs[wildcards.run]
    return {
        "run": run.id,
        "experiment": run.experiment,
        "settings": run.settings,
        "candidates": list(run.candidates),
        "views": run.feature_sets,
    }


def point_params(identity):
    """What names the run of an operating point, and how its points are made."""
    run = STUDY.runs[identity]
    experiment = STUDY.experiments[run.experiment]
    return {
        "experiment": run.experiment,
        "run": run.id,
        "seed": run.seed,
        "method": experiment.method,
        "tokens": experiment.tokens,
        "exits": bool(experiment.exits),
    }


TOKEN_PARAMS = {
    "method": lambda wildcards: point_params(wildcards.run)["method"],
    "tokens": lambda wildcards: point_params(wildcards.run)["tokens"],
    "batch_size": STUDY.config["evaluation"]["batch_size"],
    "mistakes": STUDY.config["evaluation"]["mistakes"],
    "digest": digest("evaluate_tokens"),
}


def search_params(wildcards):
    """The grid's points, and the point and seed of each search run."""
    experiment = STUDY.experiments[wildcards.experiment]
    runs = [STUDY.runs[run] for run in experiment.search_runs]
    return {
        "points": experiment.points,
        "runs": [
            {"run": run.id, "point": run.point, "seed": run.seed, "keep": run.settings["keep"]}
            for run in runs
        ],
    }
