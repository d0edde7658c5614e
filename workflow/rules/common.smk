# Paths that several rules share, and what they look up of a run.

SPLITS = ["train", "valid", "test"]
STORE_FILES = ["index.csv", "report.json", *(f"{split}.npy" for split in SPLITS)]
# The study's own store, for every rule that reads its images.
STORE = expand("data/{dataset}/store/{file}", dataset=STUDY.dataset, file=STORE_FILES)
BASE_CONFIG = STUDY.config["base"]
BASE = ["<results>/base/weights.safetensors", "<results>/base/card.json"]
PRETRAINED = [
    "<results>/base/pretraining/weights.safetensors",
    "<results>/base/pretraining/card.json",
]
# Every core of this machine, so that a measurement has it to itself; on a cluster what a job asks
# for, which the Snakemake inside the job must not see otherwise.
ON_CLUSTER = workflow.remote_exec or not workflow.local_exec
ALL_CORES = (None if ON_CLUSTER else workflow.resource_settings.cores) or COMPUTE["threads"]
# To sbatch: a node for what measures time, because jobs beside it would slow down what it measures.
WHOLE_NODE = "--exclusive"
# Training alone can divide its work among several GPUs.
ONE_GPU = min(COMPUTE["gpu"], 1)
# Folders of splits that adaptive experiments go by.
ADAPTIVE_SPLITS = sorted(
    {
        STUDY.experiments[STUDY.runs[run].experiment].splits
        for run in (*STUDY.exit_runs, *STUDY.token_runs)
    }
)
# How many of the base's blocks the plain networks of this study have; None for all.
CUTS = sorted(
    {experiment.keep_blocks for experiment in STUDY.experiments.values()} | {None},
    key=lambda keep: keep or 0,
)


def growing(amount):
    """Memory or time that grows with each try of a job (`--retries`): too little may have ended it.

    Training that its time limit ends goes on from its last epoch, so no try is lost.
    """
    return lambda wildcards, attempt: amount * attempt


def any_of(runs):
    """A pattern for these runs; where there is none it matches nothing, as an empty one would not."""
    return "|".join(runs) or "(?!)"


EXIT_RUNS = any_of(STUDY.exit_runs)
TOKEN_RUNS = any_of(STUDY.token_runs)
AVIT_RUNS = any_of(run for run in STUDY.token_runs if run not in STUDY.training_free_runs)
TRAINING_FREE_RUNS = any_of(STUDY.training_free_runs)
TRAINED_RUNS = any_of(run for run in STUDY.runs if run not in STUDY.training_free_runs)
PLAIN_RUNS = any_of(run for run in STUDY.runs if run not in (*STUDY.exit_runs, *STUDY.token_runs))
# Runs that have operating points, by seed and splits: they are measured together, on images that
# trained none of them.
ADAPTIVE = {}
for run in (*STUDY.exit_runs, *STUDY.token_runs):
    splits = STUDY.experiments[STUDY.runs[run].experiment].splits
    ADAPTIVE.setdefault((STUDY.runs[run].seed, splits), []).append(run)
RUN_FILES = ["weights.safetensors", "card.json", "history.csv"]


def pretrained():
    """Weights and card of the pretraining: made earlier and shipped, or made here."""
    if BASE_CONFIG["source"] != "pretrain":
        return []
    ready_made = BASE_CONFIG["pretrain"]["ready_made"]
    return [ready_made, Path(ready_made).with_name("card.json")] if ready_made else PRETRAINED


def features_of(wildcards):
    """Cached features that a run may read."""
    return expand(
        "<results>/features/{views}/{split}.npy",
        views=STUDY.runs[wildcards.run].feature_sets,
        split=SPLITS,
    )


def search_of(wildcards):
    """What the final run of a searched experiment needs: the choice, and weights it may reuse."""
    run = STUDY.runs[wildcards.run]
    if not run.candidates:
        return []
    twins = [STUDY.runs[twin] for twin in STUDY.experiments[run.experiment].search_runs]
    reusable = [twin.id for twin in twins if twin.seed == run.seed]
    files = expand("<results>/runs/{run}/{file}", run=reusable, file=RUN_FILES)
    return [f"<results>/grid/{run.experiment}.json", *files]


def source_of(wildcards):
    """Weights and card of the run that a run starts from, in place of the base."""
    source = STUDY.runs[wildcards.run].source
    return expand("<results>/runs/{run}/{file}", run=source, file=RUN_FILES[:2]) if source else []


def teacher_of(wildcards):
    """Weights and card of the run whose answers a run learns from."""
    teacher = STUDY.runs[wildcards.run].teacher
    return expand("<results>/runs/{run}/{file}", run=teacher, file=RUN_FILES[:2]) if teacher else []


def splits_of(wildcards):
    """Assignments of images to splits that a run goes by."""
    return f"<results>/{splits_folder(wildcards.run)}/assignments.csv"


def splits_folder(run):
    """Folder of a run's splits."""
    return STUDY.experiments[STUDY.runs[run].experiment].splits


def cost_of(wildcards):
    """Measured cost of the network that a plain run shares with others: the base, whole or cut."""
    run = STUDY.runs[wildcards.run]
    return f"<results>/base/{cost_name(STUDY.experiments[run.experiment].keep_blocks)}.csv"


def cost_name(keep_blocks):
    """Name of the cost table of the base's first blocks, or of all."""
    return f"cost-first_{keep_blocks}" if keep_blocks else "cost"


def histories_of(wildcards):
    """Histories of an experiment's search runs."""
    return expand(
        "<results>/runs/{run}/history.csv",
        run=STUDY.experiments[wildcards.experiment].search_runs,
    )


def plain_features_of(wildcards):
    """The base's cached features, for a run that leaves the backbone as it was."""
    if not STUDY.runs[wildcards.run].head_only:
        return []
    return expand("<results>/features/plain/{split}.npy", split=SPLITS)


def tested_splits(wildcards):
    """Validation and test images; validation alone for a run of a search, which no test may guide."""
    return ["valid"] if STUDY.runs[wildcards.run].point is not None else ["valid", "test"]
