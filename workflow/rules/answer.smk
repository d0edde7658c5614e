# The answer: which model to take, who is better than it, and its card.


localrules:
    answer,


# Chosen on validation images, told on test images.
rule answer:
    input:
        summary="<results>/summary.csv",
        points="<results>/operating_points.csv",
        predictions=expand("<results>/runs/{run}/predictions.csv", run=STUDY.final_runs),
        costs=expand("<results>/runs/{run}/cost.csv", run=STUDY.final_runs),
        # Of which the model card reads those of the answer.
        cards=expand("<results>/runs/{run}/card.json", run=STUDY.final_runs),
        metrics=expand("<results>/runs/{run}/metrics.json", run=STUDY.final_runs),
        report=f"<results>/{ANSWERING['splits']}/report.json",
        checks=f"<results>/{ANSWERING['splits']}/checks.csv",
        base=[file for file in BASES if file.endswith(".json")],
        abstain="<results>/abstain.csv" if STUDY.abstains else [],
    output:
        table="<results>/answer.csv",
        record="<results>/answer.json",
        comparisons="<results>/comparisons.csv",
        card="<results>/model_card.md",
        page="<results>/model_card.html",
    log:
        "<logs>/answer.log",
    conda:
        PLOT_ENV
    params:
        study=STUDY.name,
        target=STUDY.config["answer"],
        compared=ANSWERING,
        dataset={key: STUDY.datasets[STUDY.dataset][key] for key in ("source", "name")},
        throughput_batch=EVALUATION["throughput_batch"],
        digest=digest("answer"),
    script:
        "../scripts/answer.py"
