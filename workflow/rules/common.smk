# Paths that several rules share, and what they look up of a run.
from frugalvit.config import job_params
from frugalvit.config.bases import base_key
from frugalvit.config.networks import weights_stamp
from frugalvit.config.sized_bases import base_stamp
from frugalvit.data.sources.all_sources import module_of
from frugalvit.jobs.untracked import Untracked
from frugalvit.data.view_sets import PLAIN as PLAIN_VIEW
from frugalvit.methods import registry
from frugalvit.methods.method import PLAIN

SPLITS = ["train", "valid", "test"]
STORE_FILES = ["index.csv", "report.json", *(f"{split}.npy" for split in SPLITS)]
# The study's own store, for every rule that reads its images.
STORE = expand("data/{dataset}/store/{file}", dataset=STUDY.dataset, file=STORE_FILES)
BASE_FILES = ["weights.safetensors", "card.json"]
FEATURES = {job_params.features_folder(base): base for base in STUDY.bases}
PROBES = {job_params.probes_table(base): base for base in STUDY.bases}
# The base waits for it, and all that is costly for the base; without one, training does.
IMAGES_CHECKED = "<results>/base/images_checked.json"
RUN_FILES = ["weights.safetensors", "card.json", "history.csv"]
EVALUATION = STUDY.config["evaluation"]
ANSWERING = job_params.answering(STUDY)
# What a measurement depends on.
MEASURED = {
    key: EVALUATION[key] for key in ("throughput_batch", "measure_seconds", "measure_images")
}
# Every core of this machine, so that a measurement has it to itself; on a cluster what a job asks
# for, which the Snakemake inside the job must not see otherwise.
ON_CLUSTER = workflow.remote_exec or not workflow.local_exec
ALL_CORES = (None if ON_CLUSTER else workflow.resource_settings.cores) or COMPUTE["threads"]
# To sbatch: a node for what measures time, because jobs beside it would slow down what it measures.
WHOLE_NODE = "--exclusive"
# Training alone can divide its work among several GPUs.
ONE_GPU = min(COMPUTE["gpu"], 1)


def growing(amount):
    """Memory or time that grows with each try of a job (`--retries`): too little may have ended it.

    Training that its time limit ends goes on from its last epoch, so no try is lost.
    """
    return lambda wildcards, attempt: amount * attempt


def any_of(runs):
    """A pattern for these runs; where there is none it matches nothing, as an empty one would not."""
    return "|".join(runs) or "(?!)"


def parts(names, *files):
    """Modules of methods' rooms, for a digest."""
    return [f"frugalvit.methods.{name}.{file}" for name in names for file in files]


def options_of(names):
    """Settings of `evaluation` that methods read."""
    keys = sorted({key for name in names for key in registry.method(name).options})
    return {key: EVALUATION[key] for key in keys}


def base_files(base):
    """Weights and card of bases at their sizes; nothing where experiments start from nothing."""
    return expand("<results>/{base}/{file}", base=base, file=BASE_FILES) if STUDY.based else []


BASES = base_files(STUDY.bases)  # of every base at every size that experiments start from


def base_of(wildcards):
    """The base that a run starts from."""
    return base_files(STUDY.base_of(wildcards.run))


def pretrained(wildcards):
    """Weights and card of a base's pretraining: made earlier and shipped, or made here."""
    made = STUDY.pretraining_of(wildcards.base)
    if made is None:
        return []
    ready_made = STUDY.bases[wildcards.base].settings["pretrain"]["ready_made"]
    if ready_made:
        return [ready_made, Path(ready_made).with_name("card.json")]
    return expand("<results>/{made}/pretraining/{file}", made=made, file=BASE_FILES)


def features_of(wildcards):
    """Cached features that a run may read."""
    return expand(
        "<results>/{features}/{views}/{split}.npy",
        features=job_params.features_folder(STUDY.base_of(wildcards.run)),
        views=STUDY.runs[wildcards.run].feature_sets,
        split=SPLITS,
    )


def trained_under(wildcards):
    """Assignments that say which images train under a cached view set; the plain view is of all."""
    if wildcards.views == PLAIN_VIEW:
        return []
    splits = STUDY.splits_reading(wildcards.views, FEATURES[wildcards.features])
    return expand("<results>/{splits}/assignments.csv", splits=splits)


def search_of(wildcards):
    """What the final run of a searched experiment needs: the choice, and weights it may reuse."""
    run = STUDY.runs[wildcards.run]
    if not run.candidates:
        return []
    files = expand("<results>/runs/{run}/{file}", run=STUDY.twins_of(run.id), file=RUN_FILES)
    return [f"<results>/grid/{run.experiment}.json", *files]


def model_of(run):
    """Weights and card of a run; nothing for none."""
    return expand("<results>/runs/{run}/{file}", run=run, file=RUN_FILES[:2]) if run else []


def source_of(wildcards):
    """The run that a run starts from, in place of the base."""
    return model_of(STUDY.runs[wildcards.run].source)


def teacher_of(wildcards):
    """The run whose answers a run learns from."""
    return model_of(STUDY.runs[wildcards.run].teacher)


def network_of(wildcards):
    """Weights that a run's own network begins with, in place of random ones."""
    name = STUDY.network_weights_of(wildcards.run)
    return f"<results>/networks/{name}/weights.safetensors" if name else []


def splits_of(wildcards):
    """Assignments of images to splits that a run goes by."""
    return f"<results>/{STUDY.splits_of(wildcards.run)}/assignments.csv"


def histories_of(wildcards):
    """Histories of an experiment's search runs."""
    return expand(
        "<results>/runs/{run}/history.csv",
        run=STUDY.experiments[wildcards.experiment].search_runs,
    )


def training_digest(run):
    """Of the loop, of the run's method, and of the models of the runs that it starts from."""
    others = (STUDY.runs[run].source, STUDY.runs[run].teacher)
    read = {STUDY.experiment_of(other).method for other in others if other}
    own = parts([STUDY.experiment_of(run).method], "model", "objective")
    return digest("train_run", [*own, *parts(read, "model")])


def source_digest(script, datasets):
    """The digest of a script and of the file of its dataset's source only."""
    return lambda wildcards: digest(script, [module_of(datasets[wildcards.dataset]["source"])])
