# Training under freeze schedules, and the search over their settings.


localrules:
    select_grid,
    adopt_run,


rule extract_features:
    input:
        store=STORE,
        base=lambda wildcards: base_files(FEATURES[wildcards.features]),
        assignments=trained_under,
    output:
        expand("<results>/{{features}}/{{views}}/{split}.npy", split=SPLITS),
        card="<results>/{features}/{views}/card.json",
    log:
        "<logs>/extract_features/{features}/{views}.log",
    wildcard_constraints:
        features=any_of(FEATURES),
    conda:
        FULL_ENV
    threads: COMPUTE["threads"]
    resources:
        gpu=ONE_GPU,
        mem_mb=growing(COMPUTE["mem_mb"]),
        runtime=growing(COMPUTE["runtime"]),
    params:
        view_set=lambda wildcards: STUDY.view_sets[wildcards.views],
        batch_size=EVALUATION["batch_size"],
        digest=digest("extract_features"),
    script:
        "../scripts/extract_features.py"


rule train_run:
    input:
        store=STORE,
        assignments=splits_of,
        base=base_of,
        checked=[] if STUDY.based else IMAGES_CHECKED,
        features=features_of,
        search=search_of,
        source=source_of,
        teacher=teacher_of,
        network=network_of,
    output:
        weights="<results>/runs/{run}/weights.safetensors",
        card="<results>/runs/{run}/card.json",
        history="<results>/runs/{run}/history.csv",
    log:
        "<logs>/train_run/{run}.log",
    wildcard_constraints:
        run=any_of(STUDY.trained_runs),
    conda:
        FULL_ENV
    threads: COMPUTE["threads"]
    resources:
        gpu=COMPUTE["gpu"],
        # What the script compares its grant with. Resources, for a changed one retrains nothing.
        gpu_asked=COMPUTE["gpu"],
        cpu_processes=COMPUTE["cpu_processes"],
        mem_mb=growing(COMPUTE["mem_mb"]),
        runtime=growing(COMPUTE["runtime"]),
    params:
        run=lambda wildcards: job_params.training(STUDY, wildcards.run),
        square=job_params.square(STUDY),
        batch_size=EVALUATION["batch_size"],
        workers=COMPUTE["loader_workers"],
        halve=Untracked(COMPUTE["on_memory_error"] == "halve"),
        digest=lambda wildcards: training_digest(wildcards.run),
    script:
        "../scripts/train_run.py"


rule select_grid:
    input:
        histories_of,
    output:
        table="<results>/grid/{experiment}.csv",
        choice="<results>/grid/{experiment}.json",
    log:
        "<logs>/select_grid/{experiment}.log",
    conda:
        PLOT_ENV
    params:
        search=lambda wildcards: job_params.search(STUDY, wildcards.experiment),
        digest=digest("select_grid"),
    script:
        "../scripts/select_grid.py"


# Nothing trains: the run is another one's weights, used in another way.
rule adopt_run:
    input:
        source_of,
    output:
        weights="<results>/runs/{run}/weights.safetensors",
        card="<results>/runs/{run}/card.json",
        history="<results>/runs/{run}/history.csv",
    log:
        "<logs>/adopt_run/{run}.log",
    wildcard_constraints:
        run=any_of(STUDY.adopted_runs),
    conda:
        PLOT_ENV
    params:
        run=lambda wildcards: job_params.training(STUDY, wildcards.run),
        digest=digest("adopt_run"),
    script:
        "../scripts/adopt_run.py"
