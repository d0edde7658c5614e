# Figures and tables for people, drawn from tables alone, and their places in the report.
# A figure is a line in figures/all_figures.py or in its method's room; no rule names one.

# Seconds each: no cluster job is worth its wait. Rules share a wildcard but not its values.
for JOB in jobs(STUDY):
    for FIGURE in JOB.figures:
        SHOWN += [
            f"<results>/{file.replace(f'{{{JOB.each}}}', value)}"
            for file in JOB.files(FIGURE, FORMATS)
            for value in (JOB.values or [""])
        ]

    rule:
        name:
            JOB.name
        input:
            **tables_of(JOB),
        output:
            **outputs_of(JOB),
        log:
            f"<logs>/{JOB.name}/{{{JOB.each}}}.log" if JOB.each else f"<logs>/{JOB.name}.log",
        wildcard_constraints:
            **({JOB.each: "|".join(JOB.values)} if JOB.each else {}),
        localrule: True
        conda:
            PLOT_ENV
        params:
            study=STUDY.name,
            page=PAGE,
            figures=JOB.drawn,
            settings=own(JOB, JOB.settings),
            options=own(JOB, JOB.options),
            digest=digest("plot", JOB.modules),
        script:
            "../scripts/plot.py"


rule figures:
    input:
        SHOWN,
