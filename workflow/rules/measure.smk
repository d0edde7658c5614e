# Measured cost of every network and operating point, all in one sitting.


localrules:
    copy_cost,


# Alone on the machine: jobs beside it would slow down what it measures. One job, in which all take
# turns: times of two moments would not compare. Plain runs are measured as the networks that they
# share, the base, whole or cut, so none of them need be trained for it.
rule measure_cost:
    input:
        store=STORE,
        base=BASES,
        assignments=expand("<results>/{splits}/assignments.csv", splits=STUDY.measured_splits),
        weights=expand("<results>/runs/{run}/weights.safetensors", run=STUDY.adaptive_runs),
        cards=expand("<results>/runs/{run}/card.json", run=STUDY.adaptive_runs),
        points=expand("<results>/runs/{run}/untimed_points.csv", run=STUDY.adaptive_runs),
        tables=[
            f"<results>/runs/{run}/{STUDY.method_of(run).tables[table]}"
            for run in STUDY.adaptive_runs
            for table in STUDY.method_of(run).measured
        ],
    output:
        costs=expand("<results>/runs/{run}/cost.csv", run=STUDY.adaptive_runs),
        points=expand("<results>/runs/{run}/operating_points.csv", run=STUDY.adaptive_runs),
        plain=expand("<results>/{network}.csv", network=STUDY.plain_networks),
    log:
        "<logs>/measure_cost.log",
    conda:
        FULL_ENV
    threads: ALL_CORES
    resources:
        gpu=ONE_GPU,
        slurm_extra=WHOLE_NODE,
        mem_mb=growing(COMPUTE["mem_mb"]),
        runtime=growing(COMPUTE["runtime"]),
    params:
        evaluation=MEASURED,
        threads=COMPUTE["threads"],
        runs=[job_params.point_identity(STUDY, run) for run in STUDY.adaptive_runs],
        plain=list(STUDY.plain_networks.values()),
        digest=digest(
            "measure_cost",
            [
                *parts(STUDY.adaptive_methods, "model", "points"),
                *parts(STUDY.made_methods, "model"),
            ],
        ),
    script:
        "../scripts/measure_cost.py"


rule copy_cost:
    input:
        expand("<results>/{network}.csv", network=STUDY.plain_networks),
    output:
        expand("<results>/runs/{run}/cost.csv", run=STUDY.plain_runs),
    log:
        "<logs>/copy_cost.log",
    conda:
        PLOT_ENV
    params:
        networks=[STUDY.network_of(run) for run in STUDY.plain_runs],
        digest=digest("copy_cost"),
    script:
        "../scripts/copy_cost.py"
