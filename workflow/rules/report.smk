# Figures, drawn from tables alone, and their places in the report, which shows SVG.


# Seconds each: no cluster job is worth its wait.
localrules:
    plot_splits,
    plot_experiment,
    plot_schedules,
    plot_grid,


rule figures:
    input:
        expand(
            "<results>/figures/{figure}.{format}", figure=FIGURES, format=["svg", *OTHER_FORMATS]
        ),


rule plot_splits:
    input:
        assignments="<results>/{splits}/assignments.csv",
        samples="<results>/{splits}/samples.csv",
    output:
        [
            report(
                f"<results>/figures/{figure}-{{splits}}.svg",
                caption=f"../report/{figure}.rst",
                category="Data",
                labels={"figure": figure.replace("_", " "), "splits": "{splits}"},
            )
            for figure in SPLITS_FIGURES
        ],
        expand(
            "<results>/figures/{figure}-{{splits}}.{format}",
            figure=SPLITS_FIGURES,
            format=OTHER_FORMATS,
        ),
    log:
        "<logs>/plot_splits/{splits}.log",
    conda:
        PLOT_ENV
    params:
        study=STUDY.name,
        figures=PAGE,
        settings=lookup(within=STUDY.split_sets, dpath="{splits}"),
        digest=digest("plot_splits"),
    script:
        "../scripts/plot_splits.py"


# Of the summary only the device is read: another experiment's new row redraws nothing.
rule plot_experiment:
    input:
        histories=collect("<results>/runs/{run}/history.csv", run=RUNS_SHOWN),
        predictions=collect("<results>/runs/{run}/predictions.csv", run=RUNS_SHOWN),
        thumbnails=collect("<results>/runs/{run}/thumbnails.csv", run=RUNS_SHOWN),
        assignments=collect("<results>/{splits}/assignments.csv", splits=SPLITS_SHOWN),
        summary=ancient("<results>/summary.csv"),
    output:
        [
            report(
                f"<results>/figures/{figure}-{{experiment}}.svg",
                caption=f"../report/{figure}.rst",
                category="Experiments",
                subcategory="{experiment}",
                labels={"figure": figure.replace("_", " ")},
            )
            for figure in EXPERIMENT_FIGURES
        ],
        expand(
            "<results>/figures/{figure}-{{experiment}}.{format}",
            figure=EXPERIMENT_FIGURES,
            format=OTHER_FORMATS,
        ),
    log:
        "<logs>/plot_experiment/{experiment}.log",
    conda:
        PLOT_ENV
    params:
        study=STUDY.name,
        figures=PAGE,
        settings=SETTINGS,
        digest=digest("plot_experiment"),
    script:
        "../scripts/plot_experiment.py"


rule plot_schedules:
    input:
        summary="<results>/summary.csv",
    output:
        report(
            "<results>/figures/schedules.svg",
            caption="../report/schedules.rst",
            category="Comparison",
            labels={"figure": "experiments compared"},
        ),
        expand("<results>/figures/schedules.{format}", format=OTHER_FORMATS),
    log:
        "<logs>/plot_schedules.log",
    conda:
        PLOT_ENV
    params:
        study=STUDY.name,
        figures=PAGE,
        experiments=STUDY.shown,
        settings=OF_EXPERIMENT,
        digest=digest("plot_schedules"),
    script:
        "../scripts/plot_schedules.py"


rule plot_grid:
    input:
        grid="<results>/grid/{experiment}.csv",
        assignments=collect("<results>/{splits}/assignments.csv", splits=SPLITS_SHOWN),
        summary=ancient("<results>/summary.csv"),
    output:
        report(
            "<results>/figures/grid-{experiment}.svg",
            caption="../report/grid.rst",
            category="Grid search",
            labels={"figure": "grid search", "experiment": "{experiment}"},
        ),
        expand("<results>/figures/grid-{{experiment}}.{format}", format=OTHER_FORMATS),
    log:
        "<logs>/plot_grid/{experiment}.log",
    conda:
        PLOT_ENV
    params:
        study=STUDY.name,
        figures=PAGE,
        settings=SETTINGS,
        digest=digest("plot_grid"),
    script:
        "../scripts/plot_grid.py"
