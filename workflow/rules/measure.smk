# Measured cost of every operating point of one seed's runs, side by side with the plain model.

for SEED in ADAPTIVE_SEEDS:

    # Alone on the machine: jobs beside it would slow down what it measures.
    rule:
        name:
            f"measure_points_s{SEED}"
        input:
            store=STORE,
            assignments=f"<results>/{splits_folder(ADAPTIVE[SEED][0])}/assignments.csv",
            weights=expand("<results>/runs/{run}/weights.safetensors", run=ADAPTIVE[SEED]),
            cards=expand("<results>/runs/{run}/card.json", run=ADAPTIVE[SEED]),
            points=expand("<results>/runs/{run}/untimed_points.csv", run=ADAPTIVE[SEED]),
            calibration=expand(
                "<results>/runs/{run}/calibration.json",
                run=[run for run in ADAPTIVE[SEED] if run in STUDY.exit_runs],
            ),
        output:
            costs=expand("<results>/runs/{run}/cost.csv", run=ADAPTIVE[SEED]),
            points=expand("<results>/runs/{run}/operating_points.csv", run=ADAPTIVE[SEED]),
        log:
            f"<logs>/measure_points_s{SEED}.log",
        conda:
            FULL_ENV
        threads: ALL_CORES
        resources:
            gpu=COMPUTE["gpu"],
            mem_mb=COMPUTE["mem_mb"],
            runtime=COMPUTE["runtime"],
        params:
            evaluation=STUDY.config["evaluation"],
            threads=COMPUTE["threads"],
            runs=[point_params(run) for run in ADAPTIVE[SEED]],
            digest=digest("measure_points"),
        script:
            "../scripts/measure_points.py"
