# Tokens that leave: halting (A-ViT), merging and pruning.


localrules:
    adopt_run,


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
        run=TRAINING_FREE_RUNS,
    conda:
        PLOT_ENV
    params:
        run=run_params,
        digest=digest("adopt_run"),
    script:
        "../scripts/adopt_run.py"


rule evaluate_avit:
    input:
        store=STORE,
        assignments=splits_of,
        weights="<results>/runs/{run}/weights.safetensors",
        card="<results>/runs/{run}/card.json",
    output:
        predictions="<results>/runs/{run}/predictions.csv",
        thumbnails="<results>/runs/{run}/thumbnails.csv",
        metrics="<results>/runs/{run}/metrics.json",
        points="<results>/runs/{run}/untimed_points.csv",
        halting="<results>/runs/{run}/halting.csv",
        images="<results>/runs/{run}/depth_images.csv",
    log:
        "<logs>/evaluate_avit/{run}.log",
    wildcard_constraints:
        run=AVIT_RUNS,
    conda:
        FULL_ENV
    threads: COMPUTE["threads"]
    resources:
        gpu=ONE_GPU,
        mem_mb=growing(COMPUTE["mem_mb"]),
        runtime=growing(COMPUTE["runtime"]),
    params:
        **TOKEN_PARAMS,
        images=STUDY.config["evaluation"]["depth_images"],
    script:
        "../scripts/evaluate_tokens.py"


rule evaluate_tokens:
    input:
        store=STORE,
        assignments=splits_of,
        weights="<results>/runs/{run}/weights.safetensors",
        card="<results>/runs/{run}/card.json",
    output:
        predictions="<results>/runs/{run}/predictions.csv",
        thumbnails="<results>/runs/{run}/thumbnails.csv",
        metrics="<results>/runs/{run}/metrics.json",
        points="<results>/runs/{run}/untimed_points.csv",
    log:
        "<logs>/evaluate_tokens/{run}.log",
    wildcard_constraints:
        run=TRAINING_FREE_RUNS,
    conda:
        FULL_ENV
    threads: COMPUTE["threads"]
    resources:
        gpu=ONE_GPU,
        mem_mb=growing(COMPUTE["mem_mb"]),
        runtime=growing(COMPUTE["runtime"]),
    params:
        **TOKEN_PARAMS,
    script:
        "../scripts/evaluate_tokens.py"
