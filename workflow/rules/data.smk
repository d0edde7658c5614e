# Images: fetched, decoded once into the store, divided into splits that are checked.
from frugalvit.data.sources.all_sources import source_stamp


# Downloads need the network, which a cluster's nodes often lack; the checks read tables alone.
localrules:
    download_dataset,
    check_splits,
    check_images,


# The raw files are no outputs: Snakemake would delete them before another try, and with them what a
# broken download has brought so far. The marker lists them with their checksums.
rule download_dataset:
    output:
        "data/{dataset}/raw/.complete",
    log:
        "<logs>/download_dataset/{dataset}.log",
    wildcard_constraints:
        dataset=any_of(STUDY.downloads),
    conda:
        FULL_ENV
    resources:
        mem_mb=2000,
        runtime=240,
    params:
        # What decides which files a dataset consists of; the size of its images does not.
        fetched=lambda wildcards: {
            key: STUDY.downloads[wildcards.dataset][key] for key in ("source", "path", "sha256")
        },
        # The state of a user's own folder or archive, so that a changed file is noticed.
        stamp=lambda wildcards: source_stamp(STUDY.downloads[wildcards.dataset]),
        digest=source_digest("download_dataset", STUDY.downloads),
    script:
        "../scripts/download_dataset.py"


rule prepare_dataset:
    input:
        # The files have the dataset's name, whatever the size of its images.
        lambda wildcards: f"data/{STUDY.datasets[wildcards.dataset]['name']}/raw/.complete",
    output:
        index="data/{dataset}/store/index.csv",
        arrays=expand("data/{{dataset}}/store/{split}.npy", split=SPLITS),
        report="data/{dataset}/store/report.json",
    log:
        "<logs>/prepare_dataset/{dataset}.log",
    wildcard_constraints:
        dataset=any_of(STUDY.datasets),
    conda:
        FULL_ENV
    threads: COMPUTE["threads"]
    resources:
        mem_mb=growing(4000),
        runtime=growing(120),
    params:
        dataset=lookup(within=STUDY.datasets, dpath="{dataset}"),
        digest=source_digest("prepare_dataset", STUDY.datasets),
    script:
        "../scripts/prepare_dataset.py"


rule check_splits:
    input:
        lambda wildcards: expand(
            "data/{dataset}/store/{file}",
            dataset=STUDY.dataset_of(wildcards.splits),
            file=STORE_FILES,
        ),
    output:
        assignments="<results>/{splits}/assignments.csv",
        samples="<results>/{splits}/samples.csv",
        report="<results>/{splits}/report.json",
        checks="<results>/{splits}/checks.csv",
    log:
        "<logs>/check_splits/{splits}.log",
    priority: 100
    conda:
        FULL_ENV
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        splits=lookup(within=STUDY.split_sets, dpath="{splits}"),
        view=lambda wildcards: STUDY.view_of(wildcards.splits)._asdict(),
        digest=digest("check_splits"),
    script:
        "../scripts/check_splits.py"


# Before anything costly: what the number of images does not allow needs neither features nor a base.
# It runs again with other images alone, for everything follows it; an edited experiment is checked
# when the study is read, if its images are a folder, else by check_experiments.
rule check_images:
    input:
        STORE,
    output:
        IMAGES_CHECKED,
    log:
        "<logs>/check_images.log",
    priority: 100
    conda:
        FULL_ENV
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        counted=Untracked(job_params.counted_experiments(STUDY)),
    script:
        "../scripts/check_images.py"
