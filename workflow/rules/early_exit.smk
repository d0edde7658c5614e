# Early exits: what each block knows, and thresholds from calibration images.


rule probe_blocks:
    input:
        store=STORE,
        assignments="<results>/{splits}/assignments.csv",
        base=BASE,
        features=expand("<results>/features/plain/{split}.npy", split=SPLITS),
    output:
        "<results>/{splits}/probes.csv",
    log:
        "<logs>/probe_blocks/{splits}.log",
    conda:
        FULL_ENV
    threads: COMPUTE["threads"]
    resources:
        mem_mb=growing(COMPUTE["mem_mb"]),
        runtime=growing(120),
    params:
        digest=digest("probe_blocks"),
    script:
        "../scripts/probe_blocks.py"


rule evaluate_exits:
    input:
        store=STORE,
        assignments=splits_of,
        base=BASE,
        weights="<results>/runs/{run}/weights.safetensors",
        card="<results>/runs/{run}/card.json",
        features=plain_features_of,
    output:
        predictions="<results>/runs/{run}/predictions.csv",
        thumbnails="<results>/runs/{run}/thumbnails.csv",
        metrics="<results>/runs/{run}/metrics.json",
        images="<results>/runs/{run}/exit_images.csv",
        exits="<results>/runs/{run}/exits.csv",
        points="<results>/runs/{run}/untimed_points.csv",
        calibration="<results>/runs/{run}/calibration.json",
    log:
        "<logs>/evaluate_exits/{run}.log",
    wildcard_constraints:
        run=EXIT_RUNS,
    conda:
        FULL_ENV
    threads: COMPUTE["threads"]
    resources:
        gpu=ONE_GPU,
        mem_mb=growing(COMPUTE["mem_mb"]),
        runtime=growing(COMPUTE["runtime"]),
    params:
        experiment=lambda wildcards: STUDY.runs[wildcards.run].experiment,
        exits=lambda wildcards: STUDY.experiments[STUDY.runs[wildcards.run].experiment].exits,
        batch_size=STUDY.config["evaluation"]["batch_size"],
        mistakes=STUDY.config["evaluation"]["mistakes"],
        digest=digest("evaluate_exits"),
    script:
        "../scripts/evaluate_exits.py"
