# Dataset-level metrics, measured cost, and the tables that everything else reads.


localrules:
    copy_cost,
    summarize,


# A rule a method: what its evaluation writes is its own.
for METHOD in STUDY.methods:

    rule:
        name:
            f"evaluate_{METHOD}"
        input:
            store=STORE,
            assignments=splits_of,
            weights="<results>/runs/{run}/weights.safetensors",
            card="<results>/runs/{run}/card.json",
            features=plain_features_of,
        output:
            **{
                table: f"<results>/runs/{{run}}/{file}"
                for table, file in registry.method(METHOD).tables.items()
            },
            predictions="<results>/runs/{run}/predictions.csv",
            thumbnails="<results>/runs/{run}/thumbnails.csv",
            metrics="<results>/runs/{run}/metrics.json",
        log:
            f"<logs>/evaluate_{METHOD}/{{run}}.log",
        wildcard_constraints:
            run=any_of(STUDY.runs_of(METHOD)),
        conda:
            FULL_ENV
        threads: COMPUTE["threads"]
        resources:
            gpu=ONE_GPU,
            mem_mb=growing(COMPUTE["mem_mb"]),
            runtime=growing(COMPUTE["runtime"]),
        params:
            method=METHOD,
            experiment=lambda wildcards: STUDY.runs[wildcards.run].experiment,
            how=lambda wildcards: STUDY.experiment_of(wildcards.run).evaluation,
            splits=lambda wildcards: STUDY.tested_splits(wildcards.run),
            batch_size=EVALUATION["batch_size"],
            mistakes=EVALUATION["mistakes"],
            options=options_of([METHOD]),
            digest=digest("evaluate", parts([METHOD], "model", "tables")),
        script:
            "../scripts/evaluate.py"


# What each block of the base knows: the reference for heads on early blocks.
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


# Plain fine-tuned runs share one network (one for each depth that the base is cut to), whose cost
# is measured once, with nothing beside it.
rule measure_cost:
    input:
        store=STORE,
        base=BASE,
    output:
        [f"<results>/base/{cost_name(keep)}.csv" for keep in STUDY.cuts],
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
        keep_blocks=STUDY.cuts,
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
        run=any_of(STUDY.plain_runs),
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
        points=expand("<results>/runs/{run}/operating_points.csv", run=STUDY.adaptive_runs),
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
        throughput_batch=EVALUATION["throughput_batch"],
        runs=[
            {"run": run.id, "experiment": run.experiment, "seed": run.seed, "point": run.point}
            for run in STUDY.runs.values()
        ],
        digest=digest("summarize"),
    script:
        "../scripts/summarize.py"
