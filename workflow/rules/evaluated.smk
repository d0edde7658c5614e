# What rules of evaluation look up of the runs that one job evaluates.


def evaluated_together(method):
    """A method's runs by the job that evaluates them: what its name ends in, and its runs."""
    if not EVALUATION["together"]:
        return {"": ["{run}"]}  # a job each
    found = {}
    for run in STUDY.runs_of(method):
        found.setdefault(f"_s{STUDY.runs[run].seed}", []).append(run)
    return found


def named(runs, wildcards):
    """Runs of a job, of which one may be its wildcard."""
    return [run.format(run=wildcards.get("run")) for run in runs]


def plain_features_of(runs, wildcards):
    """The bases' cached features, for runs that leave the backbone as it was."""
    own = [run for run in named(runs, wildcards) if STUDY.runs[run].head_only]
    bases = dict.fromkeys(STUDY.base_of(run) for run in own)
    return [file for base in bases for file in plain_features(base)]


def plain_features(base):
    """Cached features of a base at a size, of all images in the plain view."""
    folder = job_params.features_folder(base)
    return expand("<results>/{folder}/plain/{split}.npy", folder=folder, split=SPLITS)


def splits_of_runs(runs, wildcards):
    """Assignments of images to splits that runs go by, a file a run."""
    found = [STUDY.splits_of(run) for run in named(runs, wildcards)]
    return [f"<results>/{splits}/assignments.csv" for splits in found]


def unsure_outputs():
    """When each run says "unsure", in one table and in the run's folder, where the study asks for it."""
    if not STUDY.abstains:
        return {}
    of_runs = expand("<results>/runs/{run}/abstain.json", run=STUDY.final_runs)
    return {"abstain": "<results>/abstain.csv", "unsure": of_runs}
