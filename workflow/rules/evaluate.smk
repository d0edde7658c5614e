# Dataset-level metrics, measured cost, and the tables that everything else reads.


localrules:
    copy_cost,
    summarize,


rule evaluate:
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
    log:
        "<logs>/evaluate/{run}.log",
    wildcard_constraints:
        run=PLAIN_RUNS,
    conda:
        FULL_ENV
    threads: COMPUTE["threads"]
    resources:
        gpu=ONE_GPU,
        mem_mb=growing(COMPUTE["mem_mb"]),
        runtime=growing(60),
    params:
        splits=tested_splits,
        batch_size=STUDY.config["evaluation"]["batch_size"],
        mistakes=STUDY.config["evaluation"]["mistakes"],
        digest=digest("evaluate"),
    script:
        "../scripts/evaluate.py"


# Plain fine-tuned runs share one network (one for each depth that the base is cut to), whose cost
# is measured once, with nothing beside it.
rule measure_cost:
    input:
        store=STORE,
        base=BASE,
    output:
        [f"<results>/base/{cost_name(keep)}.csv" for keep in CUTS],
    log:
        "<logs>/measure_cost.log",
    conda:
        FULL_ENV
    threads: ALL_CORES
    resources:
        gpu=ONE_GPU,
        slurm_extra=WHOLE_NODE,
        mem_mb=growing(COMPUTE["mem_mb"]),
        runtime=growing(30),
    params:
        evaluation=MEASURED,
        threads=COMPUTE["threads"],
        keep_blocks=CUTS,
        digest=digest("measure_cost"),
    script:
        "../scripts/measure_cost.py"


rule copy_cost:
    input:
        cost_of,
    output:
        "<results>/runs/{run}/cost.csv",
    log:
        "<logs>/copy_cost/{run}.log",
    wildcard_constraints:
        run=PLAIN_RUNS,
    conda:
        PLOT_ENV
    params:
        digest=digest("copy_cost"),
    script:
        "../scripts/copy_cost.py"


rule summarize:
    input:
        metrics=expand("<results>/runs/{run}/metrics.json", run=STUDY.runs),
        cards=expand("<results>/runs/{run}/card.json", run=STUDY.runs),
        costs=expand("<results>/runs/{run}/cost.csv", run=STUDY.final_runs),
        choices=expand("<results>/grid/{experiment}.json", experiment=STUDY.grids),
        points=expand(
            "<results>/runs/{run}/operating_points.csv", run=(*STUDY.exit_runs, *STUDY.token_runs)
        ),
    output:
        summary="<results>/summary.csv",
        points="<results>/operating_points.csv",
        metrics="<results>/metrics.csv",
    log:
        "<logs>/summarize.log",
    conda:
        PLOT_ENV
    params:
        study=STUDY.name,
        throughput_batch=STUDY.config["evaluation"]["throughput_batch"],
        runs=[
            {"run": run.id, "experiment": run.experiment, "seed": run.seed, "point": run.point}
            for run in STUDY.runs.values()
        ],
        digest=digest("summarize"),
    script:
        "../scripts/summarize.py"
