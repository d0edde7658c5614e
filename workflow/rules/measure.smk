# Measured cost of every operating point of one seed's runs, side by side with the plain model.

for (SEED, FOLDER), RUNS in STUDY.measured_together.items():

    # Alone on the machine: jobs beside it would slow down what it measures.
    rule:
        name:
            f"measure_points_s{SEED}{FOLDER.removeprefix('splits').replace('-', '_')}"
        input:
            store=STORE,
            assignments=f"<results>/{FOLDER}/assignments.csv",
            weights=expand("<results>/runs/{run}/weights.safetensors", run=RUNS),
            cards=expand("<results>/runs/{run}/card.json", run=RUNS),
            points=expand("<results>/runs/{run}/untimed_points.csv", run=RUNS),
            tables=[
                f"<results>/runs/{run}/{STUDY.method_of(run).tables[table]}"
                for run in RUNS
                for table in STUDY.method_of(run).measured
            ],
        output:
            costs=expand("<results>/runs/{run}/cost.csv", run=RUNS),
            points=expand("<results>/runs/{run}/operating_points.csv", run=RUNS),
        log:
            f"<logs>/measure_points/{FOLDER}-s{SEED}.log",
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
            runs=[job_params.point_identity(STUDY, run) for run in RUNS],
            digest=digest(
                "measure_points",
                parts({STUDY.experiment_of(run).method for run in RUNS}, "model", "points"),
            ),
        script:
            "../scripts/measure_points.py"
