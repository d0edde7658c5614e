# Tables for people, made from tables for programs.


localrules:
    tabulate_results,
    tabulate_checks,


rule tabulate_results:
    input:
        summary="<results>/summary.csv",
        predictions=expand(
            "<results>/runs/{run}/predictions.csv",
            run=[run for name in STUDY.shown for run in OF_EXPERIMENT[name]["final_runs"]],
        ),
    output:
        report(
            "<results>/summary.html",
            caption="../report/results_table.rst",
            category="Comparison",
            labels={"figure": "results as a table"},
        ),
    log:
        "<logs>/tabulate_results.log",
    conda:
        PLOT_ENV
    params:
        experiments=STUDY.shown,
        digest=digest("tabulate_results"),
    script:
        "../scripts/tabulate_results.py"


rule tabulate_checks:
    input:
        "<results>/{splits}/checks.csv",
    output:
        report(
            "<results>/{splits}/checks.html",
            caption="../report/checks_table.rst",
            category="Data",
            labels={"figure": "what the checks found", "splits": "{splits}"},
        ),
    log:
        "<logs>/tabulate_checks/{splits}.log",
    conda:
        PLOT_ENV
    params:
        study=STUDY.name,
        digest=digest("tabulate_checks"),
    script:
        "../scripts/tabulate_checks.py"
