# Dataset-level metrics, and the tables that everything else reads.


localrules:
    summarize,


# A rule a method: what its evaluation writes is its own. One job evaluates one run, or where
# `evaluation.together` asks for it all of a method's runs of one seed.
for METHOD in STUDY.methods:
    for GROUP, RUNS in evaluated_together(METHOD).items():

        rule:
            name:
                f"evaluate_{METHOD}{GROUP}"
            input:
                store=STORE,
                assignments=lambda wildcards, runs=RUNS: splits_of_runs(runs, wildcards),
                weights=[f"<results>/runs/{run}/weights.safetensors" for run in RUNS],
                cards=[f"<results>/runs/{run}/card.json" for run in RUNS],
                features=lambda wildcards, runs=RUNS: plain_features_of(runs, wildcards),
            output:
                **{
                    table: [f"<results>/runs/{run}/{file}" for run in RUNS]
                    for table, file in registry.method(METHOD).evaluated.items()
                },
            log:
                f"<logs>/evaluate_{METHOD}/{GROUP.strip('_') or '{run}'}.log",
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
                runs=lambda wildcards, runs=RUNS: [
                    job_params.evaluated(STUDY, run) for run in named(runs, wildcards)
                ],
                batch_size=EVALUATION["batch_size"],
                mistakes=EVALUATION["mistakes"],
                options=options_of([METHOD]),
                digest=digest("evaluate", parts([METHOD], "model", "tables")),
            script:
                "../scripts/evaluate.py"


# What each block of a base knows: the reference for heads on early blocks.
rule probe_blocks:
    input:
        store=STORE,
        assignments="<results>/{splits}/assignments.csv",
        base=lambda wildcards: base_files(PROBES[wildcards.probes]),
        features=lambda wildcards: plain_features(PROBES[wildcards.probes]),
    output:
        "<results>/{splits}/{probes}.csv",
    log:
        "<logs>/probe_blocks/{splits}-{probes}.log",
    wildcard_constraints:
        probes=any_of(PROBES),
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


# What a trained run's embedding knows, where `evaluation.probes` asks.
rule probe_run:
    input:
        store=STORE,
        assignments=splits_of,
        weights="<results>/runs/{run}/weights.safetensors",
        card="<results>/runs/{run}/card.json",
    output:
        "<results>/runs/{run}/probes.csv",
    log:
        "<logs>/probe_run/{run}.log",
    conda:
        FULL_ENV
    threads: COMPUTE["threads"]
    resources:
        gpu=ONE_GPU,
        mem_mb=growing(COMPUTE["mem_mb"]),
        runtime=growing(COMPUTE["runtime"]),
    params:
        experiment=lambda wildcards: STUDY.runs[wildcards.run].experiment,
        batch_size=EVALUATION["batch_size"],
        probes=EVALUATION["probes"],
        most=EVALUATION["probe_images"],
        digest=lambda wildcards: digest(
            "probe_run", parts([STUDY.experiment_of(wildcards.run).method], "model")
        ),
    script:
        "../scripts/probe_run.py"


rule summarize:
    input:
        metrics=expand("<results>/runs/{run}/metrics.json", run=STUDY.runs),
        cards=expand("<results>/runs/{run}/card.json", run=STUDY.runs),
        costs=expand("<results>/runs/{run}/cost.csv", run=STUDY.final_runs),
        choices=expand("<results>/grid/{experiment}.json", experiment=STUDY.grids),
        points=expand("<results>/runs/{run}/operating_points.csv", run=STUDY.adaptive_runs),
        predictions=expand(
            "<results>/runs/{run}/predictions.csv", run=job_params.read_predictions_of(STUDY)
        ),
        index=STORE[0] if STUDY.abstains else [],
    output:
        **unsure_outputs(),
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
        runs=job_params.summarized_runs(STUDY),
        abstain=job_params.abstaining(STUDY),
        digest=digest("summarize", parts(STUDY.methods, "keys")),
    script:
        "../scripts/summarize.py"
