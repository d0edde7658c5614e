# Figures of early exits, drawn from tables alone.


localrules:
    plot_exits,


rule plot_exits:
    input:
        exits=collect("<results>/runs/{run}/exits.csv", run=RUNS_SHOWN),
        points=collect("<results>/runs/{run}/operating_points.csv", run=RUNS_SHOWN),
        predictions=collect("<results>/runs/{run}/predictions.csv", run=RUNS_SHOWN),
        images=collect("<results>/runs/{run}/exit_images.csv", run=RUNS_SHOWN),
        probes=collect("<results>/{splits}/probes.csv", splits=SPLITS_SHOWN),
        assignments=collect("<results>/{splits}/assignments.csv", splits=SPLITS_SHOWN),
        summary="<results>/summary.csv",
    output:
        [
            report(
                f"<results>/figures/{figure}-{{experiment}}.svg",
                caption=f"../report/{figure}.rst",
                category="Early exits",
                subcategory="{experiment}",
                labels={"figure": figure.removeprefix("exit_").replace("_", " ")},
            )
            for figure in EXIT_FIGURES
        ],
        expand(
            "<results>/figures/{figure}-{{experiment}}.{format}",
            figure=EXIT_FIGURES,
            format=OTHER_FORMATS,
        ),
    log:
        "<logs>/plot_exits/{experiment}.log",
    conda:
        PLOT_ENV
    params:
        study=STUDY.name,
        figures=PAGE,
        settings=SETTINGS,
        targets=lookup(within=OF_EXPERIMENT, dpath="{experiment}/exits/targets"),
        rivals=lookup(within=RIVALS, dpath="{experiment}"),
        digest=digest("plot_exits"),
    script:
        "../scripts/plot_exits.py"
