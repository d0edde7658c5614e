# Figures and the table of adaptive tokens, and of all that saves computation.


localrules:
    plot_avit,
    plot_pareto,
    tabulate_tokens,


rule plot_avit:
    input:
        histories=collect("<results>/runs/{run}/history.csv", run=RUNS_SHOWN),
        halting=collect("<results>/runs/{run}/halting.csv", run=RUNS_SHOWN),
        predictions=collect("<results>/runs/{run}/predictions.csv", run=RUNS_SHOWN),
        images=collect("<results>/runs/{run}/depth_images.csv", run=RUNS_SHOWN),
        metrics=ancient("<results>/metrics.csv"),
        assignments=collect("<results>/{splits}/assignments.csv", splits=SPLITS_SHOWN),
        summary=ancient("<results>/summary.csv"),
    output:
        [
            report(
                f"<results>/figures/{figure}-{{experiment}}.svg",
                caption=f"../report/{figure}.rst",
                category="Adaptive tokens",
                subcategory="{experiment}",
                labels={"figure": figure.removeprefix("avit_")},
            )
            for figure in AVIT_FIGURES
        ],
        expand(
            "<results>/figures/{figure}-{{experiment}}.{format}",
            figure=AVIT_FIGURES,
            format=OTHER_FORMATS,
        ),
    log:
        "<logs>/plot_avit/{experiment}.log",
    conda:
        PLOT_ENV
    params:
        study=STUDY.name,
        figures=PAGE,
        settings=SETTINGS,
        digest=digest("plot_avit"),
    script:
        "../scripts/plot_avit.py"


rule plot_pareto:
    input:
        summary="<results>/summary.csv",
        points="<results>/operating_points.csv",
        costs=expand("<results>/runs/{run}/cost.csv", run=COMPARED_RUNS),
    output:
        report(
            "<results>/figures/pareto.svg",
            caption="../report/pareto.rst",
            category="Comparison",
            labels={"figure": "accuracy against cost, all methods"},
        ),
        expand("<results>/figures/pareto.{format}", format=OTHER_FORMATS),
    log:
        "<logs>/plot_pareto.log",
    conda:
        PLOT_ENV
    params:
        study=STUDY.name,
        figures=PAGE,
        experiments=COMPARED,
        throughput_batch=STUDY.config["evaluation"]["throughput_batch"],
        digest=digest("plot_pareto"),
    script:
        "../scripts/plot_pareto.py"


rule tabulate_tokens:
    input:
        summary="<results>/summary.csv",
        points="<results>/operating_points.csv",
        costs=expand("<results>/runs/{run}/cost.csv", run=COMPARED_RUNS),
        metrics="<results>/metrics.csv",
    output:
        report(
            "<results>/tokens.html",
            caption="../report/token_table.rst",
            category="Comparison",
            labels={"figure": "adaptive tokens and their rivals as a table"},
        ),
    log:
        "<logs>/tabulate_tokens.log",
    conda:
        PLOT_ENV
    params:
        study=STUDY.name,
        experiments=TABULATED,
        digest=digest("tabulate_tokens"),
    script:
        "../scripts/tabulate_tokens.py"
